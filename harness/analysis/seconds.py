"""The seconds of both arms, laid from the injection and from the clear, and those that no fault touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.experiment import Experiment
from harness.clock import NS

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seconds:
    """The edges (ns, increasing) that cut both arms alike: one second each, laid from the injection and from the clear.

    `before`, `during`, `after` are the bins between them; `whole` marks those of exactly one second.
    `phase` numbers the planned phase in which a bin's middle lies, -1 for none.
    """

    edges_ns: Ints
    before: slice
    during: slice
    after: slice
    whole: NDArray[np.bool_]
    phase: Ints

    @property
    def all(self) -> slice:
        """Every bin."""
        return slice(0, len(self.edges_ns) - 1)

    def length_s(self, where: slice) -> float:
        """How long the bins of `where` last together."""
        start, stop, _ = where.indices(len(self.edges_ns) - 1)
        return float(self.edges_ns[stop] - self.edges_ns[start]) / NS if stop > start else 0.0


def cut_seconds(experiment: Experiment) -> Seconds:
    """The common seconds of the experiment's arms; without a window, seconds from the end of the warm-up on."""
    window = experiment.window
    if window is None or window.clear_ns <= window.active_ns:
        edges = np.arange(experiment.warm_up_ns, max(experiment.end_ns, experiment.warm_up_ns) + 1, NS, dtype=np.int64)
        inside = slice(0, 0)
        return Seconds(
            edges,
            slice(0, len(edges) - 1),
            inside,
            inside,
            np.ones(len(edges) - 1, dtype=bool),
            _phases(experiment, edges),
        )
    ahead = (window.active_ns - experiment.warm_up_ns) // NS
    before = window.active_ns - NS * np.arange(ahead, 0, -1, dtype=np.int64)
    during = np.arange(window.active_ns, window.clear_ns, NS, dtype=np.int64)
    after = np.arange(window.clear_ns, max(experiment.watched_to_ns, window.clear_ns) + 1, NS, dtype=np.int64)
    edges = np.concatenate((before, during, after))
    cuts = (len(before), len(before) + len(during), len(edges) - 1)
    return Seconds(
        edges,
        slice(0, cuts[0]),
        slice(cuts[0], cuts[1]),
        slice(cuts[1], cuts[2]),
        np.diff(edges) == NS,
        _phases(experiment, edges),
    )


def cut_return(experiment: Experiment) -> Seconds | None:
    """The common seconds after the load came back, all of them `after`; None when the load was not shed."""
    if experiment.shedding is None:
        return None
    start_ns, end_ns = experiment.shedding.return_ns, experiment.shedding.end_ns
    edges = np.arange(start_ns, max(end_ns, start_ns) + 1, NS, dtype=np.int64)
    nothing, everything = slice(0, 0), slice(0, len(edges) - 1)
    return Seconds(edges, nothing, nothing, everything, np.ones(len(edges) - 1, dtype=bool), _phases(experiment, edges))


def undisturbed(
    seconds: Seconds, experiment: Experiment, kind: Literal["baseline", "fault"], timeout_ns: int | None
) -> Sequence[NDArray[np.intp]]:
    """The bins of an arm that no fault touches, one array per phase: what the noise is measured on.

    All of the baseline arm; of the fault arm what lies one client timeout (1 s if unknown) before the injection.
    """
    free = seconds.whole.copy()
    if kind == "fault" and experiment.window is not None:
        free &= seconds.edges_ns[1:] <= experiment.window.active_ns - (NS if timeout_ns is None else timeout_ns)
    return [np.flatnonzero(free & (seconds.phase == number)) for number in sorted(set(seconds.phase.tolist()))]


def _phases(experiment: Experiment, edges: Ints) -> Ints:
    middles = (edges[:-1] + edges[1:]) // 2
    found = np.full(len(middles), -1, dtype=np.int64)
    for number, (_, start_ns, end_ns) in enumerate(experiment.phases):
        found[(middles >= start_ns) & (middles < end_ns)] = number
    return found
