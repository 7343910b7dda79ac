"""How many requests failed from the fault's beginning on: counted one by one, nothing is estimated."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.arrivals import Arrivals
from harness.analysis.verdict import Failures

EVERYTHING = ""
"""The name of all endpoints together."""


def count_failures(baseline: Arrivals, fault: Arrivals, begun_ns: int, end_ns: int) -> Mapping[str, Failures]:
    """Every endpoint of either arm by name, in alphabetical order, and `EVERYTHING` first.

    What counts was due before `end_ns` and not over at `begun_ns`: whatever was in flight when the fault began is in.
    """
    counts = [_count(arm, begun_ns, end_ns) for arm in (baseline, fault)]
    names = sorted({name for arm in counts for name in arm} | {EVERYTHING})
    return {name: Failures(name, *(number for arm in counts for number in arm.get(name, (0, 0)))) for name in names}


def _count(arm: Arrivals, begun_ns: int, end_ns: int) -> dict[str, tuple[int, int]]:
    """Requests, and those of them that failed, by endpoint."""
    within = arm.only((arm.intended_ns + arm.response_ns >= begun_ns) & (arm.intended_ns < end_ns))
    counts = {name: (len(part.failed), int(part.failed.sum())) for name, part in within.by_endpoint()}
    return {EVERYTHING: (len(within.failed), int(within.failed.sum())), **counts}
