"""All expectations on numbers as one question: is anything beyond its margin, more than so many looks would show?

Max-T in the manner of Westfall and Young: how the looks hang together is taken from the undisturbed seconds, by sums
over blocks of seconds in which all of them are taken together, so that looks at the same trouble count about once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import Cells, Pair
from harness.analysis.decision import Decision, p_beyond
from harness.expectations import Expectation
from harness.stats.multiple import block_scores, step_down
from harness.stats.noise import NO_NOISE

ALPHA = 0.025
METHOD = "max-T over the expectations, blocks of undisturbed seconds resampled jointly"
_DRAWS = 10_000
_LONGEST_BLOCK_S = 15


@dataclass(frozen=True, slots=True)
class Look:
    """One expectation on a number: its one-sided p-value by itself, and its undisturbed seconds.

    `seconds`: per stretch, how much worse than usual each second was (in arrivals). `correlation_s`: for how long.
    """

    p: float
    beyond_doubt: bool
    seconds: tuple[NDArray[np.float64], ...]
    correlation_s: float


def look_at(expectation: Expectation, pair: Pair, where: slice, length_s: float, decision: Decision) -> Look | None:
    """The look of a decision; None when there was too little to hold an interval against the margin."""
    if not decision.judged or decision.effect is None:
        return None
    noise = decision.effect.noise
    return Look(
        p=p_beyond(expectation, pair, where, length_s, NO_NOISE if decision.beyond_doubt else noise),
        beyond_doubt=decision.beyond_doubt,
        seconds=tuple(_worse(expectation, cells, bins) for cells, bins in _calm(pair)),
        correlation_s=noise.correlation_s,
    )


def adjust(looks: Sequence[Look], seed: int) -> list[float]:
    """The looks' p-values adjusted for all of them together, in their order."""
    if len(looks) < 2:
        return [look.p for look in looks]
    longest_s = max(look.correlation_s for look in looks)
    block = max(1, min(_LONGEST_BLOCK_S, math.ceil(longest_s) if math.isfinite(longest_s) else _LONGEST_BLOCK_S))
    stretches = [np.column_stack(columns) for columns in zip(*(look.seconds for look in looks), strict=True)]
    scores = block_scores(stretches or [np.empty((0, len(looks)))], block, _DRAWS, seed)
    return step_down([look.p for look in looks], scores)


def _calm(pair: Pair) -> list[tuple[Cells, NDArray[np.intp]]]:
    sides = ((pair.baseline, pair.calm_baseline), (pair.fault, pair.calm_fault))
    return [(cells, bins) for cells, stretches in sides for bins in stretches if len(bins)]


def _worse(expectation: Expectation, cells: Cells, bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """How many more arrivals than usual were failed, late or beyond the quantile, in each second."""
    arrivals = cells.arrivals[bins].astype(np.float64)
    if expectation.metric == "error-rate":
        happened = cells.failed[bins].astype(np.float64)
    elif expectation.quantile is None:
        happened = arrivals - cells.good[bins]
    else:
        felt = cells.felt[bins]
        running = np.cumsum(felt.sum(axis=0, dtype=np.int64))
        level = int(np.searchsorted(running, expectation.quantile * int(running[-1]) - 1e-9)) if len(running) else 0
        happened = felt[:, level + 1 :].sum(axis=1).astype(np.float64)
    return np.asarray(happened - happened.sum() / max(1.0, arrivals.sum()) * arrivals)
