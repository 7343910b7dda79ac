"""The arrivals that a simulated arm meets: those of the measured run at scale 1, else as many more of their kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from harness.clock import NS
from harness.load.arrivals import arrivals_of, draw_indices
from harness.plan import Load
from harness.simulate.arm import Batch

_GRID_S = 0.01
_BATCH_S = 1.0
_BATCH = 1 << 16


def batches_of(load: Load, mix: Mapping[str, float], endpoints: tuple[str, ...], scale: int) -> Iterator[Batch]:
    """Arrivals in order, in batches: instants in ns, and numbers into `endpoints`. Raises ValueError for an empty mix.

    At scale 1 they are exactly those of `harness.load`, with the same seed. Above it they are drawn from a Poisson
    process with `scale` times the rate, whose level is followed in steps of 10 ms.
    """
    weights = [float(mix.get(name, 0.0)) for name in endpoints]
    if sum(weights) <= 0:
        raise ValueError("no endpoint of the model is asked for")
    return _exact(load, mix, endpoints) if scale == 1 else _scaled(load, weights, scale)


def _exact(load: Load, mix: Mapping[str, float], endpoints: tuple[str, ...]) -> Iterator[Batch]:
    # In the mix's own order, which is the locustfile's: the draws then are those of the load engine.
    code = np.array([endpoints.index(name) for name in mix], dtype=np.int64)
    instants_s, indices = iter(arrivals_of(load)), draw_indices(list(mix.values()), load.seed)
    while (batch_s := np.fromiter(islice(instants_s, _BATCH), dtype=np.float64)).size:
        drawn = (
            np.fromiter(islice(indices, batch_s.size), dtype=np.int64) if len(mix) > 1 else np.zeros(batch_s.size, int)
        )
        yield (batch_s * NS).astype(np.int64), code[drawn]


def _scaled(load: Load, weights: list[float], scale: int) -> Iterator[Batch]:
    rng = np.random.default_rng([load.seed, scale])
    process = arrivals_of(load)
    bounds = np.cumsum(weights) / sum(weights)
    start_s = 0.0
    while start_s < load.duration_s:
        end_s = min(start_s + _BATCH_S, load.duration_s)
        edges_s = np.linspace(start_s, end_s, round((end_s - start_s) / _GRID_S) + 1)
        rates = np.array([process.rate(float(t_s)) for t_s in (edges_s[:-1] + edges_s[1:]) / 2]) * scale
        widths_s = np.diff(edges_s)
        counts = rng.poisson(rates * widths_s)
        instants_s = np.repeat(edges_s[:-1], counts) + rng.random(counts.sum()) * np.repeat(widths_s, counts)
        instants_s.sort()
        drawn = np.minimum(np.searchsorted(bounds, rng.random(instants_s.size), side="right"), len(weights) - 1)
        yield (instants_s * NS).astype(np.int64), drawn.astype(np.int64)
        start_s = end_s
