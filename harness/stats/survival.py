"""Times of which some were not seen to end: the product-limit estimate of Kaplan and Meier (JASA 1958)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.stats.proportions import NORMAL_95


@dataclass(frozen=True, slots=True)
class Survival:
    """The estimated share that lasts longer than each of `times` (ascending, those at which something ended).

    `low`, `high`: pointwise 95 % limits on the log(-log) scale (Kalbfleisch and Prentice 1980) with Greenwood's
    variance.
    """

    times: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def quantile(self, share: float = 0.5) -> tuple[float | None, float | None, float | None]:
        """When that share has ended, with its 95 % limits (Brookmeyer and Crowley 1982); None where it never came."""
        left = 1 - share

        def crossed(curve: tuple[float, ...]) -> float | None:
            return next((time for time, value in zip(self.times, curve, strict=True) if value <= left + 1e-12), None)

        return crossed(self.share), crossed(self.low), crossed(self.high)


def kaplan_meier(durations: Sequence[float], ended: Sequence[bool]) -> Survival:
    """From durations and whether each was seen to end; those that were not count up to where they were watched.

    Raises ValueError when there is none, or one is negative or no number.
    """
    if not durations or not all(math.isfinite(value) and value >= 0 for value in durations):
        raise ValueError(f"expected at least one duration, none of them negative, got {list(durations)}")
    times, shares, lows, highs = [], [], [], []
    share, greenwood = 1.0, 0.0
    for time in sorted({value for value, end in zip(durations, ended, strict=True) if end}):
        at_risk = sum(value >= time for value in durations)
        ends = sum(value == time and end for value, end in zip(durations, ended, strict=True))
        share *= 1 - ends / at_risk
        greenwood = math.inf if ends == at_risk else greenwood + ends / (at_risk * (at_risk - ends))
        low, high = _limits(share, greenwood)
        times.append(time)
        shares.append(share)
        lows.append(low)
        highs.append(high)
    return Survival(tuple(times), tuple(shares), tuple(lows), tuple(highs))


def _limits(share: float, greenwood: float) -> tuple[float, float]:
    if share <= 0 or not math.isfinite(greenwood):
        return 0.0, 1.0
    spread = NORMAL_95 * math.sqrt(greenwood) / abs(math.log(share))
    return share ** math.exp(spread), share ** math.exp(-spread)
