"""Two factors at two levels, load and fault: what only both together do (a 2x2 factorial with replicates)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from harness.stats.proportions import Estimate


@dataclass(frozen=True, slots=True)
class Interaction:
    """What both factors do together beyond the sum of each alone, with its interval and how sure it is.

    `error`: standard error on `freedom` degrees of freedom; None (as is `p_value`, two-sided) with one run per cell,
    where nothing tells how much runs differ by themselves; the interval is then None as well.
    """

    value: float
    interval: Estimate | None
    error: float | None
    freedom: int
    p_value: float | None


def interaction(
    neither: Sequence[float],
    first: Sequence[float],
    second: Sequence[float],
    both: Sequence[float],
    level: float = 0.95,
) -> Interaction:
    """`I = both - first - second + neither` of the cells' means; `se = s sqrt(4/r)`, `df = 4 (r - 1)`.

    Each argument has the values of the same number r of runs, on the scale that is asked about (points or logarithms).
    Raises ValueError for cells of different sizes or empty ones.
    """
    cells = (neither, first, second, both)
    runs = len(neither)
    if runs == 0 or any(len(cell) != runs for cell in cells):
        raise ValueError(f"expected four cells with the same number of runs, got {[len(cell) for cell in cells]}")
    means = [math.fsum(cell) / runs for cell in cells]
    value = means[3] - means[1] - means[2] + means[0]
    freedom = 4 * (runs - 1)
    if freedom == 0:
        return Interaction(value, None, None, 0, None)
    squares = math.fsum((one - mean) ** 2 for cell, mean in zip(cells, means, strict=True) for one in cell)
    error = math.sqrt(squares / freedom) * math.sqrt(4 / runs)
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(value) / error)) if error > 0 else float(value == 0)
    return Interaction(value, Estimate(value, value - half, value + half), error, freedom, p_value)
