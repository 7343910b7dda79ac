"""Arrivals counted per second: everything that is compared is a sum of these cells, so cost grows with seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.arrivals import Arrivals
from harness.analysis.seconds import Seconds
from harness.stats.logbins import MIDDLES_MS, bin_of
from harness.stats.noise import Noise, measure

Ints = NDArray[np.int64]
ALL = "\0all"
"""The name of all endpoints together: none that a request can have."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One endpoint in one arm; one row per bin of the seconds, by intended start.

    `good` counts right answers within the client's timeout. `attempts_squared` sums the squares of the attempts per
    arrival. `felt` are histograms of the response time, a failed arrival counting as the timeout at least; their bins
    are those of `harness.stats.logbins` from `first_bin` on.
    """

    arrivals: Ints
    failed: Ints
    good: Ints
    attempts: Ints
    attempts_squared: Ints
    felt: NDArray[np.int32]
    first_bin: int

    @property
    def middles_ms(self) -> NDArray[np.float64]:
        """The values of the histogram's bins."""
        return MIDDLES_MS[self.first_bin : self.first_bin + self.felt.shape[1]]


@dataclass(frozen=True, slots=True)
class Pair:
    """An endpoint in both arms, with the bins of each arm that no fault touches."""

    endpoint: str
    baseline: Cells
    fault: Cells
    calm_baseline: Sequence[NDArray[np.intp]]
    calm_fault: Sequence[NDArray[np.intp]]
    _measured: dict[float, Noise] = field(default_factory=dict, init=False, repr=False, compare=False)

    def noise_of_failures(self) -> Noise:
        """How the failed share wanders where nothing disturbs it."""
        # Every check asks for the same noise, and it costs more than what is done with it: remembered, by share.
        if 0.0 not in self._measured:
            calm = self._calm()
            self._measured[0.0] = measure([(cells.failed[bins], cells.arrivals[bins]) for cells, bins in calm])
        return self._measured[0.0]

    def noise_of_quantile(self, share: float) -> Noise:
        """How the share of arrivals beyond the `share` quantile wanders, each stretch around its own quantile.

        Few arrivals lie beyond a high quantile, and chance hides how slowly it wanders: what lasts longest among it and
        the median counts.
        """
        noise, median = self._noise_beyond(share), self._noise_beyond(0.5)
        return replace(noise, correlation_s=max(noise.correlation_s, median.correlation_s))

    def _noise_beyond(self, share: float) -> Noise:
        if share not in self._measured:
            self._measured[share] = self._beyond(share)
        return self._measured[share]

    def _beyond(self, share: float) -> Noise:
        stretches = []
        for cells, bins in self._calm():
            felt = cells.felt[bins]
            running = np.cumsum(felt.sum(axis=0, dtype=np.int64))
            if len(running) and running[-1]:
                level = int(np.searchsorted(running, share * int(running[-1]) - 1e-9))
                stretches.append((felt[:, level + 1 :].sum(axis=1, dtype=np.int64), felt.sum(axis=1, dtype=np.int64)))
        return measure(stretches)

    def _calm(self) -> list[tuple[Cells, NDArray[np.intp]]]:
        return [(self.baseline, bins) for bins in self.calm_baseline] + [(self.fault, bins) for bins in self.calm_fault]


def count_pairs(
    baseline: Arrivals,
    fault: Arrivals,
    seconds: Seconds,
    calm_baseline: Sequence[NDArray[np.intp]],
    calm_fault: Sequence[NDArray[np.intp]],
    timeout_ns: int | None,
) -> Mapping[str, Pair]:
    """A pair for every endpoint of either arm, by name in alphabetical order, and `ALL` for all of them together."""
    shelves = _shelves(baseline, fault)
    empty = _count(baseline.only(np.zeros(len(baseline.endpoint), dtype=bool)), seconds, shelves, timeout_ns)
    parts = [
        {name: _count(part, seconds, shelves, timeout_ns) for name, part in arm.by_endpoint()}
        for arm in (baseline, fault)
    ]
    names = sorted(set(parts[0]) | set(parts[1]))
    counted = {
        name: Pair(name, parts[0].get(name, empty), parts[1].get(name, empty), calm_baseline, calm_fault)
        for name in names
    }
    together = Pair(
        ALL,
        _total([empty, *(pair.baseline for pair in counted.values())]),
        _total([empty, *(pair.fault for pair in counted.values())]),
        calm_baseline,
        calm_fault,
    )
    return {ALL: together, **counted}


def _shelves(*arms: Arrivals) -> tuple[int, int]:
    """The first and last histogram bin that any arrival needs."""
    felt = [arm.felt_ns for arm in arms if len(arm.felt_ns)]
    if not felt:
        return 0, 0
    edges = np.array([min(int(values.min()) for values in felt), max(int(values.max()) for values in felt)])
    first, last = bin_of(edges).tolist()
    return first, last


def _count(arm: Arrivals, seconds: Seconds, shelves: tuple[int, int], timeout_ns: int | None) -> Cells:
    bins = len(seconds.edges_ns) - 1
    at = np.searchsorted(seconds.edges_ns, arm.intended_ns, side="right") - 1
    arm = arm.only((at >= 0) & (at < bins))
    at = at[(at >= 0) & (at < bins)]
    first, width = shelves[0], shelves[1] - shelves[0] + 1
    right = ~arm.failed if timeout_ns is None else ~arm.failed & (arm.response_ns <= timeout_ns)
    cell = at * width + (bin_of(arm.felt_ns) - first)
    return Cells(
        arrivals=np.bincount(at, minlength=bins),
        failed=np.bincount(at[arm.failed], minlength=bins),
        good=np.bincount(at[right], minlength=bins),
        attempts=np.bincount(at, weights=arm.attempts, minlength=bins).astype(np.int64),
        attempts_squared=np.bincount(at, weights=arm.attempts**2, minlength=bins).astype(np.int64),
        felt=np.bincount(cell, minlength=bins * width).astype(np.int32).reshape(bins, width),
        first_bin=first,
    )


def _total(parts: Sequence[Cells]) -> Cells:
    def add(counts: Iterable[Ints]) -> Ints:
        return np.asarray(np.stack(list(counts)).sum(axis=0, dtype=np.int64))

    return Cells(
        arrivals=add(part.arrivals for part in parts),
        failed=add(part.failed for part in parts),
        good=add(part.good for part in parts),
        attempts=add(part.attempts for part in parts),
        attempts_squared=add(part.attempts_squared for part in parts),
        felt=sum((part.felt for part in parts[1:]), start=parts[0].felt),
        first_bin=parts[0].first_bin,
    )
