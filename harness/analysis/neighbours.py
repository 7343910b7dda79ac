"""Programs beside the run that took the processors in one arm more than in the other: a difference of no fault's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from harness.analysis.counters import growth
from harness.analysis.experiment import Experiment
from harness.clock import NS

if TYPE_CHECKING:
    from harness.record.reader import Record

_NOT_OURS: Final = (("machine", "others_seconds_total"), ("machine", "stolen_seconds_total"))
_LEAST: Final = 0.25
"""So many processors more in one arm than in the other, and"""
_LEAST_SHARE: Final = 0.1
"""such a share of all of them, make a difference."""
_SHORTEST_NS: Final = 3 * NS
"""In a shorter stretch the readings, one a second, say little."""


def remark(record: Record, experiment: Experiment) -> str:
    """What a reader should know of them, or "".

    Where the target runs already it is one of them, and what it does is what is looked at.
    """
    told = [] if record.info.target.existing else list(_differences(record, experiment))
    if not told:
        return ""
    return (
        f"programs that the run did not start took {', and '.join(told)}: what differs between the arms may be their"
        " doing; run it again on a calmer machine"
    )


def _differences(record: Record, experiment: Experiment) -> Iterator[str]:
    baseline, fault, window = experiment.baseline, experiment.fault, experiment.window
    if baseline is None or fault is None or window is None:
        return
    for words, span_ns in (
        ("while the fault was on", (window.active_ns, window.clear_ns)),
        ("after the fault", (window.clear_ns, experiment.end_ns)),
    ):
        length_ns = span_ns[1] - span_ns[0]
        if length_ns < _SHORTEST_NS:
            continue
        here, there = (growth(record.telemetry, arm, _NOT_OURS, span_ns) * NS / length_ns for arm in (fault, baseline))
        if abs(here - there) > _allowed(record):
            yield f"{here:.1f} processors in {fault} and {there:.1f} in {baseline} {words}"


def _allowed(record: Record) -> float:
    host = record.info.host
    cores = host.get("cores") if isinstance(host, dict) else None
    return max(_LEAST, _LEAST_SHARE * cores) if isinstance(cores, int) else _LEAST
