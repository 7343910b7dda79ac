"""How long after the confirmed clear everything was as in the baseline arm again (criterion C3).

Recovered at the start of the first 10 s in a row in which every endpoint's error rate is within 2 points of the
baseline arm's same seconds, and its p95 within 30 % or 10 ms of it, over the 10 s and over each 5 s in them. So that
a few arrivals cannot spoil a stretch, what is beyond a limit (failures of one second and of the 10 s, slow arrivals of
5 s and of the 10 s) must be more than chance makes of a system at the limit: three binomial standard errors of the
difference of both arms and one arrival. With 100 arrivals a second that is little, with 5 it is a lot.

The last client timeout of the arm is left out, because of its arrivals only the quick ones are known. A stretch that
the end of the arm cuts short counts when fewer than 20 s were watched and it lasts half of them, at least 3 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import ALL, Pair
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Recovery
from harness.stats.logbins import quantile_bin
from harness.stats.sliding import sliding_sums

STRETCH_S = 10
ROLLING_S = 5
SHORTEST_S = 3
_POINTS = 0.02
_P95_RATIO = 1.3
_P95_ON_TOP_MS = 10.0
_STANDARD_ERRORS = 3.0

UNKNOWN = Recovery(recovered=None, seconds=None, censored=False, per_endpoint={})


@dataclass(frozen=True, slots=True)
class Healing:
    """`recovery` as it stands in the verdict. `watched_s`: seconds after the clear that could be judged.

    `seen_good_s`: how long the good stretch was that decided, or at the end of the arm the one that was too short to.
    """

    recovery: Recovery
    watched_s: int
    seen_good_s: int


def measure_recovery(pairs: Mapping[str, Pair], seconds: Seconds) -> Healing:
    """The time to recovery of every endpoint and of all together, from seconds after a confirmed clear."""
    bins = np.flatnonzero(seconds.whole)
    bins = bins[bins >= seconds.after.start]
    watched = len(bins)
    single = {name: _Traces.of(pair, bins) for name, pair in pairs.items() if name != ALL}
    if watched < SHORTEST_S or not single:
        return Healing(UNKNOWN, watched, 0)
    starts = {name: _first_good([traces], watched) for name, traces in single.items()}
    start = _first_good(list(single.values()), watched)
    recovery = Recovery(
        recovered=start is not None,
        seconds=float(watched if start is None else start),
        censored=start is None,
        per_endpoint={name: None if at is None else float(at) for name, at in starts.items()},
    )
    good_s = _good_at_end(list(single.values()), watched) if start is None else min(STRETCH_S, watched - start)
    return Healing(recovery, watched, good_s)


def needed_s(watched_s: int) -> float:
    """How long a good stretch must be when the end of the arm cuts it short."""
    return STRETCH_S if watched_s >= 2 * STRETCH_S else max(SHORTEST_S, watched_s / 2)


@dataclass(frozen=True, slots=True)
class _Traces:
    """The seconds after the clear of one endpoint."""

    baseline_n: NDArray[np.int64]
    baseline_failed: NDArray[np.int64]
    fault_n: NDArray[np.int64]
    fault_failed: NDArray[np.int64]
    baseline_felt: NDArray[np.int64]
    fault_felt: NDArray[np.int64]
    middles_ms: NDArray[np.float64]
    usual: float
    second_ok: NDArray[np.bool_]
    window_ok: NDArray[np.bool_]

    @staticmethod
    def of(pair: Pair, bins: NDArray[np.intp]) -> _Traces:
        one, other = pair.baseline, pair.fault
        n_0, x_0, n_1, x_1 = one.arrivals[bins], one.failed[bins], other.arrivals[bins], other.failed[bins]
        felt_0, felt_1 = one.felt[bins].astype(np.int64), other.felt[bins].astype(np.int64)
        usual = int(x_0.sum()) / max(1, int(n_0.sum()))
        second_ok = _few_enough(x_0, n_0, x_1, n_1, usual)
        middles = one.middles_ms
        window_ok = _quick_enough(sliding_sums(felt_0, ROLLING_S), sliding_sums(felt_1, ROLLING_S), middles)
        return _Traces(n_0, x_0, n_1, x_1, felt_0, felt_1, middles, usual, second_ok, window_ok)

    def good(self, start: int, length: int) -> bool:
        """Whether the `length` seconds from `start` are as in the baseline arm."""
        part = slice(start, start + length)
        if (
            not self.second_ok[part].all()
            or not self.window_ok[start : max(start, start + length - ROLLING_S + 1)].all()
        ):
            return False
        n_0, n_1 = int(self.baseline_n[part].sum()), int(self.fault_n[part].sum())
        if n_0 == 0 or n_1 == 0:
            return n_0 == n_1
        whole = _few_enough(
            self.baseline_failed[None, part].sum(axis=1),
            np.array([n_0]),
            self.fault_failed[None, part].sum(axis=1),
            np.array([n_1]),
            self.usual,
        )
        felt = self.baseline_felt[None, part].sum(axis=1), self.fault_felt[None, part].sum(axis=1)
        return bool(whole[0] and _quick_enough(*felt, self.middles_ms)[0])


def _first_good(traces: list[_Traces], watched: int) -> int | None:
    """The first second from which all `traces` are good for long enough."""
    for start in range(watched):
        length = min(STRETCH_S, watched - start)
        if length < STRETCH_S and length < needed_s(watched):
            return None
        if all(trace.good(start, length) for trace in traces):
            return start
    return None


def _good_at_end(traces: list[_Traces], watched: int) -> int:
    """How many of the last seconds are good without a gap."""
    return next((n for n in range(min(STRETCH_S, watched), 0, -1) if all(t.good(watched - n, n) for t in traces)), 0)


def _few_enough(
    baseline_failed: NDArray[np.int64],
    baseline_n: NDArray[np.int64],
    fault_failed: NDArray[np.int64],
    fault_n: NDArray[np.int64],
    usual: float,
) -> NDArray[np.bool_]:
    """Whether failures are within 2 points of the baseline's, or of its `usual` share where that is higher."""
    share = np.maximum(usual, baseline_failed / np.maximum(1, baseline_n))
    return _within(fault_failed, np.minimum(1.0, share + _POINTS), baseline_n, fault_n)


def _quick_enough(
    baseline: NDArray[np.int64], fault: NDArray[np.int64], middles_ms: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """For each row of histograms: whether at most 5 % of `fault` is beyond what the baseline's p95 allows."""
    p95 = quantile_bin(baseline, 0.95)
    limit_ms = np.maximum(middles_ms[p95] * _P95_RATIO, middles_ms[p95] + _P95_ON_TOP_MS)
    limit_bin = np.searchsorted(middles_ms, limit_ms, side="right")
    total = fault.sum(axis=1)
    inside = np.concatenate((np.zeros((len(fault), 1), dtype=np.int64), np.cumsum(fault, axis=1)), axis=1)
    beyond = total - inside[np.arange(len(fault)), limit_bin]
    quick = _within(beyond, np.full(len(fault), 0.05), baseline.sum(axis=1), total)
    return np.asarray((p95 < 0) | quick, dtype=bool)


def _within(
    events: NDArray[np.int64], share: NDArray[np.float64], baseline_n: NDArray[np.int64], fault_n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether `events` of `fault_n` are no more than `share`, three standard errors and one event more."""
    variance = fault_n * share * (1 - share) * (1 + fault_n / np.maximum(1, baseline_n))
    return np.asarray(events <= fault_n * share + _STANDARD_ERRORS * np.sqrt(variance) + 1, dtype=bool)
