"""What users felt, aggregated before it is drawn: per bin of time, per endpoint, as percentiles, as a distribution.

The unit is the arrival: the last attempt decides, from attempt 0's intended start to the last attempt's end. A failed
arrival counts as the client's timeout at least, so that failing fast never looks like being fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.arrivals import join_attempts
from harness.clock import NS
from harness.record.samples import ArmSamples

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_BINS = 900
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One entry per arrival: which endpoint, when it was meant to start, how long the user waited, whether it failed.

    `cut`: it was still in flight when the recording ended, so that `response_ms` is a lower bound.
    `attempt_s` holds the start of every attempt that was sent, retries included, in seconds.
    """

    names: tuple[str, ...]
    endpoint: Ints
    intended_s: Floats
    response_ms: Floats
    failed: Bools
    cut: Bools
    attempt_s: Floats

    def between(self, start_s: float, end_s: float) -> Arrivals:
        """Those meant to start in `[start_s, end_s)`."""
        keep = (self.intended_s >= start_s) & (self.intended_s < end_s)
        sent = (self.attempt_s >= start_s) & (self.attempt_s < end_s)
        return Arrivals(
            self.names,
            self.endpoint[keep],
            self.intended_s[keep],
            self.response_ms[keep],
            self.failed[keep],
            self.cut[keep],
            self.attempt_s[sent],
        )


def arrivals(samples: ArmSamples, *, timeout_ns: int | None) -> Arrivals:
    """The arrivals of one arm, as the analysis sees them."""
    joined = join_attempts(samples, timeout_ns)
    sent = samples.error != samples.error_names.index("dropped")
    return Arrivals(
        names=joined.endpoint_names,
        endpoint=joined.endpoint.astype(np.int64),
        intended_s=joined.intended_ns / NS,
        response_ms=joined.felt_ns / 1e6,
        failed=joined.failed,
        cut=joined.error == samples.error_names.index("aborted"),
        attempt_s=samples.start_ns[sent] / NS,
    )


def pool(several: Sequence[Arrivals]) -> Arrivals:
    """Repeated arms of a kind, of one record, laid over one another; an empty one when there is none."""
    if not several:
        empty = np.empty(0)
        return Arrivals((), np.empty(0, dtype=np.int64), empty, empty, empty.astype(bool), empty.astype(bool), empty)
    return Arrivals(
        names=several[0].names,
        endpoint=np.concatenate([one.endpoint for one in several]),
        intended_s=np.concatenate([one.intended_s for one in several]),
        response_ms=np.concatenate([one.response_ms for one in several]),
        failed=np.concatenate([one.failed for one in several]),
        cut=np.concatenate([one.cut for one in several]),
        attempt_s=np.concatenate([one.attempt_s for one in several]),
    )


def bin_width_s(duration_s: float) -> float:
    """One second, or the next round width that keeps a series within `MAX_BINS` points."""
    return float(next((w for w in _WIDTHS_S if duration_s / w <= MAX_BINS), np.ceil(duration_s / MAX_BINS)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """Per bin of `width_s` (by intended start): mid time, counts, share of failed, response times in ms.

    Shares and response times are NaN in a bin without arrivals; response times also where the end of the recording
    cut one off.
    """

    t_s: Floats
    width_s: float
    count: Ints
    failed: Ints
    attempts: Ints
    p50_ms: Floats
    p95_ms: Floats

    @property
    def error_rate(self) -> Floats:
        """Share of failed arrivals, 0..1."""
        return _ratio(self.failed, self.count)

    @property
    def goodput(self) -> Floats:
        """Arrivals answered well, per second."""
        return (self.count - self.failed) / self.width_s


def timeline(data: Arrivals, *, duration_s: float, width_s: float, arms: int = 1) -> Timeline:
    """`data` per bin over `[0, duration_s)`; counts are per arm, so `arms` pooled arms divide them."""
    bins = max(1, int(np.ceil(duration_s / width_s - 1e-9)))
    index = _bin(data.intended_s, width_s, bins)
    count = np.bincount(index, minlength=bins)
    whole = (count > 0) & (np.bincount(index[data.cut], minlength=bins) == 0)
    order = np.lexsort((data.response_ms, index))
    ranked = data.response_ms[order]
    starts = np.concatenate(([0], np.cumsum(count)[:-1]))

    def quantile(share: float) -> Floats:
        at = starts + np.maximum(np.ceil(share * count).astype(np.int64) - 1, 0)
        found = np.full(bins, np.nan)
        found[whole] = ranked[at[whole]]
        return found

    return Timeline(
        t_s=_middles(bins, width_s),
        width_s=width_s * arms,
        count=count,
        failed=np.bincount(index[data.failed], minlength=bins),
        attempts=np.bincount(_bin(data.attempt_s, width_s, bins), minlength=bins),
        p50_ms=quantile(0.5),
        p95_ms=quantile(0.95),
    )


def error_grid(data: Arrivals, *, duration_s: float, width_s: float) -> Floats:
    """Error rate per endpoint (rows, in the order of `data.names`) and bin (columns); NaN without arrivals."""
    bins = max(1, int(np.ceil(duration_s / width_s - 1e-9)))
    cell = data.endpoint * bins + _bin(data.intended_s, width_s, bins)
    size = bins * len(data.names)
    count, failed = np.bincount(cell, minlength=size), np.bincount(cell[data.failed], minlength=size)
    return _ratio(failed, count).reshape(len(data.names), bins)


def latency_grid(data: Arrivals, edges_ms: Floats, *, duration_s: float, width_s: float) -> Floats:
    """Share of each bin's arrivals per band of response time: rows are the bands between `edges_ms`."""
    bins = max(1, int(np.ceil(duration_s / width_s - 1e-9)))
    band = np.clip(np.searchsorted(edges_ms, data.response_ms, side="right") - 1, 0, len(edges_ms) - 2)
    cell = band * bins + _bin(data.intended_s, width_s, bins)
    grid = np.bincount(cell, minlength=bins * (len(edges_ms) - 1)).reshape(-1, bins)
    return _ratio(grid, grid.sum(axis=0))


def percentiles(data: Arrivals, shares: Sequence[float]) -> list[float | None]:
    """Response times in ms (nearest rank) at `shares`; None where fewer than ten arrivals lie above."""
    ranked = np.sort(data.response_ms)
    found: list[float | None] = []
    for share in shares:
        above = len(ranked) * (1 - share)
        found.append(float(ranked[int(np.ceil(share * len(ranked))) - 1]) if above >= 10 - 1e-6 else None)
    return found


def ecdf(data: Arrivals, points: int = 240) -> tuple[Floats, Floats]:
    """The distribution of response times as at most `points` steps: (ms, share at or below), evenly spaced in share."""
    ranked = np.sort(data.response_ms)
    if not len(ranked):
        return np.empty(0), np.empty(0)
    rank = np.unique(np.linspace(0, len(ranked) - 1, min(points, len(ranked))).round().astype(np.int64))
    return np.maximum(ranked[rank], 0.01), (rank + 1) / len(ranked)


def resample(t_s: Floats, values: Floats, *, duration_s: float, width_s: float) -> tuple[Floats, Floats]:
    """A gauge per bin: the mean of its readings; NaN in a bin without one."""
    bins = max(1, int(np.ceil(duration_s / width_s - 1e-9)))
    inside = (t_s >= 0) & (t_s <= duration_s) & np.isfinite(values)
    index = _bin(t_s[inside], width_s, bins)
    total = np.bincount(index, weights=values[inside], minlength=bins)
    return _middles(bins, width_s), _ratio(total, np.bincount(index, minlength=bins))


def _bin(t_s: Floats, width_s: float, bins: int) -> Ints:
    return np.clip((t_s / width_s).astype(np.int64), 0, bins - 1)


def _middles(bins: int, width_s: float) -> Floats:
    return (np.arange(bins, dtype=np.float64) + 0.5) * width_s


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    above, below = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    found: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return found
