"""How long after the confirmed clear everything was as in the baseline arm again (criterion C3).

Recovered at the start of the first 10 s in a row in which every endpoint's error rate is within 2 points of the
baseline arm's same seconds, and its p95 within 30 % or 10 ms of it, over the 10 s and over each 5 s in them. So that
a few arrivals cannot spoil a stretch, what is beyond a limit (failures of one second and of the 10 s, slow arrivals of
5 s and of the 10 s) must be more than chance makes of a system at the limit: three standard errors of the difference
of both arms, widened by the design effect of the undisturbed seconds, and one arrival. With 100 arrivals a second that
is little, with 5 it is a lot.

The last client timeout of the arm is left out, because of its arrivals only the quick ones are known. A stretch that
the end of the arm cuts short counts when fewer than 20 s were watched and it lasts half of them, at least 3 s.

The interval is what the same rule makes of arrivals drawn anew, second by second, with the shares that were seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import ALL, Pair
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Interval, Recovery
from harness.stats.logbins import quantile_bin
from harness.stats.survival import kaplan_meier

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indexes = NDArray[np.intp]

STRETCH_S = 10
ROLLING_S = 5
SHORTEST_S = 3
_POINTS = 0.02
_SLOW = 0.05
_P95_RATIO = 1.3
_P95_ON_TOP_MS = 10.0
_STANDARD_ERRORS = 3.0
_FEW_ARRIVALS = 3
_DRAWS = 200
_SMOOTH_S = 3
_HORIZON_S = 120

UNKNOWN = Recovery(recovered=None, seconds=None, censored=False, per_endpoint={})


@dataclass(frozen=True, slots=True)
class Healing:
    """`recovery` as it stands in the verdict. `watched_s`: seconds after the clear that could be judged.

    `seen_good_s`: how long the good stretch was that decided, or at the end of the arm the one that was too short to.
    """

    recovery: Recovery
    watched_s: int
    seen_good_s: int


def measure_recovery(pairs: Mapping[str, Pair], seconds: Seconds, calm: Mapping[str, Pair] | None = None) -> Healing:
    """The time to recovery of every endpoint and of all together, from `seconds.after` on.

    The noise is that of the same endpoints in `calm`, where `pairs` have no undisturbed seconds of their own.
    """
    bins = np.flatnonzero(seconds.whole)
    bins = bins[(bins >= seconds.after.start) & (bins < seconds.after.stop)]
    watched = len(bins)
    traces = {
        name: Trace.of(pair, bins, (calm or pairs).get(name, pair)) for name, pair in pairs.items() if name != ALL
    }
    if watched < SHORTEST_S or not traces:
        return Healing(UNKNOWN, watched, 0)
    good = {name: trace.good(trace.failed, trace.slow) for name, trace in traces.items()}
    together = np.logical_and.reduce(list(good.values()))
    start = _first(together)
    recovery = Recovery(
        recovered=start is not None,
        seconds=float(watched if start is None else start),
        censored=start is None,
        per_endpoint={name: None if (at := _first(one)) is None else float(at) for name, one in good.items()},
        interval=_interval(list(traces.values()), start, watched),
    )
    good_s = _good_at_end(list(traces.values()), watched) if start is None else min(STRETCH_S, watched - start)
    return Healing(recovery, watched, good_s)


def over_repeats(recoveries: Sequence[Recovery]) -> Recovery:
    """The median time to recovery of repeated runs with its 95 % interval (Kaplan and Meier).

    Runs that were not seen to recover count up to where they were watched, never dropped; when fewer than half
    recovered, the median is not known, and `seconds` is the longest time that was watched. Runs that can't tell are
    left out.
    """
    told = [one for one in recoveries if one.recovered is not None and one.seconds is not None]
    if not told:
        return UNKNOWN
    median, low, high = _median([(one.seconds or 0.0, not one.censored) for one in told])
    longest = max(one.seconds or 0.0 for one in told)
    per_endpoint: dict[str, float | None] = {}
    for name in sorted({name for one in told for name in one.per_endpoint}):
        lasted = [(one.per_endpoint[name], one.seconds or 0.0) for one in told if name in one.per_endpoint]
        per_endpoint[name], _, _ = _median(
            [(watched if own is None else own, own is not None) for own, watched in lasted]
        )
    return Recovery(
        recovered=median is not None,
        seconds=longest if median is None else median,
        censored=median is None,
        per_endpoint=per_endpoint,
        interval=Interval(longest if median is None and low is None else low, high),
    )


def needed_s(watched_s: int) -> float:
    """How long a good stretch must be when the end of the arm cuts it short."""
    return STRETCH_S if watched_s >= 2 * STRETCH_S else max(SHORTEST_S, watched_s / 2)


@dataclass(frozen=True, slots=True)
class Trace:
    """Some seconds of one endpoint, side by side in both arms.

    `slow`: arrivals beyond what the baseline's p95 allows. `usual`: the failed share of the baseline arm in all of
    these seconds. `noise_*`: design effects.
    """

    baseline_n: Floats
    baseline_failed: Floats
    baseline_slow: Floats
    n: Floats
    failed: Floats
    slow: Floats
    usual: float
    noise_failed: float
    noise_slow: float

    @staticmethod
    def of(pair: Pair, bins: Indexes, calm: Pair) -> Trace:
        """The seconds `bins` of an endpoint, with the noise of it in `calm`."""
        one, other = pair.baseline, pair.fault
        n_0, x_0 = one.arrivals[bins].astype(float), one.failed[bins].astype(float)
        return Trace(
            baseline_n=n_0,
            baseline_failed=x_0,
            baseline_slow=_slow(one.felt[bins], one.felt[bins], one.middles_ms),
            n=other.arrivals[bins].astype(float),
            failed=other.failed[bins].astype(float),
            slow=_slow(one.felt[bins], other.felt[bins], one.middles_ms),
            usual=float(x_0.sum() / max(1.0, n_0.sum())),
            noise_failed=calm.noise_of_failures().design_effect,
            noise_slow=calm.noise_of_quantile(1 - _SLOW).design_effect,
        )

    def head(self, seconds: int) -> Trace:
        """The first seconds of it."""
        names = ("baseline_n", "baseline_failed", "baseline_slow", "n", "failed", "slow")
        return replace(self, **{name: getattr(self, name)[:seconds] for name in names})

    def too_many_failed(self, failed: Floats) -> Bools:
        """For each second, whether more failed than in the baseline arm; draws along the first axis, if any."""
        usual = np.maximum(self.usual, self.baseline_failed / np.maximum(1, self.baseline_n))
        return ~_within(failed, np.minimum(1.0, usual + _POINTS), self.baseline_n, self.n, self.noise_failed)

    def too_many_slow(self) -> Bools:
        """For each second, whether more are slow than in the baseline arm, in it and in 5 s that it belongs to."""
        second = ~_within(self.slow, _SLOW, self.baseline_n, self.n, self.noise_slow) & (self.baseline_n > 0)
        width = min(ROLLING_S, self.n.size)
        bad = np.concatenate((np.zeros(width - 1), self._slow_stretches(self.slow, width), np.zeros(width - 1)))
        seconds = np.arange(self.n.size)
        return np.asarray(second & (_sum(bad, seconds, seconds + width) > 0), dtype=bool)

    def _slow_stretches(self, slow: Floats, width: int) -> Bools:
        """For each stretch of `width` seconds, whether more are slow in it than in the baseline arm."""
        rolls = np.arange(max(0, self.n.size - width + 1))
        n_0, n = (_sum(counts, rolls, rolls + width) for counts in (self.baseline_n, self.n))
        return ~_within(_sum(slow, rolls, rolls + width), _SLOW, n_0, n, self.noise_slow) & (n_0 > 0)

    def good(self, failed: Floats, slow: Floats) -> Bools:
        """For each second, whether a stretch from it on is as in the baseline arm, and as long as it must be."""
        watched = self.n.size
        starts = np.arange(watched)
        ends = np.minimum(starts + STRETCH_S, watched)
        return self.alike(starts, ends, failed, slow) & (ends - starts >= min(STRETCH_S, needed_s(watched)))

    def alike(self, starts: Indexes, ends: Indexes, failed: Floats, slow: Floats) -> Bools:
        """Whether the seconds `[start, end)` are as in the baseline arm; draws along the first axis, if any."""
        good: Bools = _sum(self.too_many_failed(failed), starts, ends) == 0

        rolling = self._slow_stretches(slow, ROLLING_S)
        first = np.minimum(starts, rolling.shape[-1])
        good &= _sum(rolling, first, np.maximum(first, ends - ROLLING_S + 1)) == 0

        n_0, n, x_0 = (_sum(counts, starts, ends) for counts in (self.baseline_n, self.n, self.baseline_failed))
        share = np.minimum(1.0, np.maximum(self.usual, x_0 / np.maximum(1, n_0)) + _POINTS)
        whole = _within(_sum(failed, starts, ends), share, n_0, n, self.noise_failed)
        whole &= _within(_sum(slow, starts, ends), _SLOW, n_0, n, self.noise_slow)
        one_sided = (n_0 == 0) | (n == 0)
        return np.asarray(good & np.where(one_sided, np.maximum(n_0, n) < _FEW_ARRIVALS, whole), dtype=bool)

    def drawn(self, start: int) -> tuple[Floats, Floats]:
        """Failed and slow arrivals drawn anew in every second, from the shares around it; seeded by the counts."""
        seed = zlib.crc32(np.stack((self.n, self.failed, self.slow)).tobytes())
        rng = np.random.default_rng(seed)
        failed = _draw(rng, self.n, _smooth(self.failed, self.n, start), self.noise_failed)
        return failed, _draw(rng, self.n, _smooth(self.slow, self.n, start), self.noise_slow)


def _median(lasted: Sequence[tuple[float, bool]]) -> tuple[float | None, float | None, float | None]:
    return kaplan_meier([seconds for seconds, _ in lasted], [ended for _, ended in lasted]).quantile()


def _slow(baseline: NDArray[np.int32], fault: NDArray[np.int32], middles_ms: Floats) -> Floats:
    """Arrivals of each second beyond what the baseline's p95 of the 5 s around it allows."""
    seconds = np.arange(len(baseline))
    running = np.concatenate((np.zeros((1, baseline.shape[1]), np.int64), np.cumsum(baseline, axis=0, dtype=np.int64)))
    half = ROLLING_S // 2
    around = running[np.minimum(seconds + half + 1, len(baseline))] - running[np.maximum(seconds - half, 0)]
    p95_ms = middles_ms[quantile_bin(around, 1 - _SLOW)]
    limit = np.searchsorted(middles_ms, np.maximum(p95_ms * _P95_RATIO, p95_ms + _P95_ON_TOP_MS), side="right")
    inside = np.concatenate((np.zeros((len(fault), 1), np.int64), np.cumsum(fault, axis=1, dtype=np.int64)), axis=1)
    return (inside[:, -1] - inside[seconds, limit]).astype(float)


def _interval(traces: Sequence[Trace], start: int | None, watched: int) -> Interval:
    """The 2.5 and 97.5 % quantiles of the start over the draws; a second is as exact as it gets.

    Of a system that was not seen to recover only the lower limit is known: what was watched.
    """
    if start is None:
        return Interval(float(watched), None)
    horizon = min(watched, start + _HORIZON_S)
    heads = [trace.head(horizon) for trace in traces]
    good = np.logical_and.reduce([head.good(*head.drawn(start)) for head in heads])
    starts = np.where(good.any(axis=1), good.argmax(axis=1), horizon)
    low, high = np.quantile(starts, (0.025, 0.975), method="inverted_cdf").tolist()
    low, high = min(low, start), max(high, start)
    return Interval(max(0.0, float(low) - 1.0), float(high) if high < horizon else None)


def _smooth(counts: Floats, n: Floats, start: int) -> Floats:
    """The share of every second: of the 3 s around it, and of all of the good stretch inside that."""
    seconds = np.arange(n.size)
    low, high = np.maximum(seconds - _SMOOTH_S // 2, 0), np.minimum(seconds + _SMOOTH_S // 2 + 1, n.size)
    stretch = slice(start, start + STRETCH_S)
    # What is bad and what is good again are not mixed.
    high[:start] = np.minimum(high[:start], start)
    low[start:] = np.maximum(low[start:], start)
    low[stretch], high[stretch] = start, min(start + STRETCH_S, n.size)
    return np.minimum(1.0, _sum(counts, low, high) / np.maximum(1, _sum(n, low, high)))


def _draw(rng: np.random.Generator, n: Floats, share: Floats, noise: float) -> Floats:
    """Counts of `n` arrivals of which as many are independent as the design effect `noise` leaves."""
    independent = np.maximum(1, np.rint(n / noise)).astype(np.int64)
    return np.asarray(rng.binomial(independent, share, size=(_DRAWS, n.size)) * n / independent, dtype=float)


def _first(good: Bools) -> int | None:
    return int(good.argmax()) if good.any() else None


def _good_at_end(traces: Sequence[Trace], watched: int) -> int:
    """How many of the last seconds are good without a gap."""
    lengths = np.arange(min(STRETCH_S, watched), 0, -1)
    starts, ends = watched - lengths, np.full(len(lengths), watched)
    good = np.logical_and.reduce([trace.alike(starts, ends, trace.failed, trace.slow) for trace in traces])
    return int(lengths[good.argmax()]) if good.any() else 0


def _within(events: Floats, share: Floats | float, baseline_n: Floats, n: Floats, noise: float) -> Bools:
    """Whether `events` of `n` are no more than `share`, three standard errors and one event more."""
    variance = noise * n * share * (1 - share) * (1 + n / np.maximum(1, baseline_n))
    return np.asarray(events <= n * share + _STANDARD_ERRORS * np.sqrt(variance) + 1, dtype=bool)


def _sum(counts: NDArray[np.generic], starts: Indexes, ends: Indexes) -> Floats:
    """Sums over `[start, end)` of the last axis."""
    running = np.concatenate((np.zeros((*counts.shape[:-1], 1)), np.cumsum(counts, axis=-1, dtype=float)), axis=-1)
    return np.asarray(running[..., ends] - running[..., starts], dtype=float)
