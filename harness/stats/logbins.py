"""Log-binned histograms of response times: quantiles to 0.5 %, from counts that can be added over seconds.

Bin edges are whole nanoseconds made by whole-number arithmetic, so a value falls in the same bin on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.stats.proportions import Estimate, wilson

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_LOWEST_NS = 10_000
_HIGHEST_NS = 10**13


def _edges() -> Iterator[int]:
    edge = _LOWEST_NS
    while edge < _HIGHEST_NS:
        yield edge
        edge = edge * 101 // 100


EDGES_NS: Ints = np.fromiter(_edges(), dtype=np.int64)
"""Bin i >= 1 is `[EDGES_NS[i-1], EDGES_NS[i])`, each edge 1 % above the last: 10 us up to 10,000 s. Bin 0 is below."""

_BOUNDS = np.concatenate(([0], EDGES_NS, [EDGES_NS[-1] * 101 // 100])).astype(np.float64)
MIDDLES_MS: Floats = (_BOUNDS[:-1] + _BOUNDS[1:]) / 2e6
"""The value in ms that stands for each bin: within 0.5 % of every value from 10 us to 10,000 s."""


def bin_of(values_ns: Ints) -> Ints:
    """The bin of each value."""
    return np.searchsorted(EDGES_NS, values_ns, side="right").astype(np.int64)


def quantile_bin(counts: NDArray[np.integer], share: float) -> Ints:
    """The bin of the `share` quantile (inverted distribution function) of each histogram along the last axis.

    -1 where a histogram is empty.
    """
    running = np.cumsum(counts, axis=-1, dtype=np.int64)
    total = running[..., -1]
    rank = np.maximum(1, np.ceil(share * total - 1e-9)).astype(np.int64)
    found = (running < rank[..., None]).sum(axis=-1)
    return np.where(total > 0, found, -1).astype(np.int64)


def quantile_estimate(
    counts: NDArray[np.integer], middles_ms: Floats, share: float, effective_n: float, critical: float
) -> Estimate:
    """A quantile in ms with the interval of Woodruff (JASA 1952): the quantiles at the limits of the share itself.

    `counts` is one histogram whose bins have the values `middles_ms`; its observations count as `effective_n`
    independent ones. Raises ValueError for an empty histogram.
    """
    limits = wilson(share * effective_n, effective_n, critical)
    running = np.cumsum(counts, dtype=np.int64)
    if not len(running) or running[-1] == 0:
        raise ValueError("expected at least one observation")
    levels = np.array((share, limits.low, limits.high))
    at = np.searchsorted(running, np.maximum(1, np.ceil(levels * int(running[-1]) - 1e-9)))
    return Estimate(*middles_ms[at].tolist())


def fewest_for(share: float) -> int:
    """The fewest effective observations for a two-sided statement on a quantile: one of n exceeds it in 95 % of cases.

    59 for p95, 299 for p99, 2,995 for p99.9; never below 20.
    """
    return max(20, math.ceil(math.log(0.05) / math.log(max(share, 1 - share))))
