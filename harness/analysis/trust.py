"""Which pairs of arms the verdict may stand on: an invalid pair is left out by name, and never in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.analysis.counters import growth
from harness.analysis.experiment import Experiment, unpaired
from harness.analysis.verdict import Validity
from harness.clock import NS
from harness.plan import CLOSED_MODEL_HIDES

if TYPE_CHECKING:
    from harness.record.reader import Record


_NOT_OURS: Final = (("machine", "others_seconds_total"), ("machine", "stolen_seconds_total"))
_CROWD: Final = 0.25
"""So many processors more for others in one arm than in the other, and"""
_CROWD_SHARE: Final = 0.1
"""such a share of all of them, make a difference that the fault did not make."""
_SHORTEST_CROWD_NS: Final = 3 * NS
"""In a shorter stretch the readings, one a second, say little."""


@dataclass(frozen=True, slots=True)
class Trust:
    """`validity` of the run as a whole; `left_out`: for each pair why the verdict does not stand on it, else ""."""

    validity: Validity
    left_out: tuple[str, ...]


def assess(record: Record, experiments: Sequence[Experiment]) -> Trust:
    """Hold the record's own validity against its pairs.

    What makes single arms invalid costs their pairs; the run stays valid on the others. What concerns the run as a
    whole, or a record that does not say which arm it concerns, makes all of it invalid.
    """
    given = record.info.validity
    of_arms = {arm.name: arm.invalid for arm in record.info.arms if arm.invalid}
    explained = {f"{name}: {reason}" for name, reasons in of_arms.items() for reason in reasons}
    whole = not given.valid and (not of_arms or any(reason not in explained for reason in given.reasons))
    spoilt = [
        "; ".join(f"{arm}: {reason}" for arm in (one.baseline, one.fault) for reason in of_arms.get(arm or "", ()))
        for one in experiments
    ]
    several = len(experiments) > 1
    left_out = tuple(
        why or (_of_little_use(one) if several else "") for why, one in zip(spoilt, experiments, strict=True)
    )
    reasons = list(given.reasons)
    reasons += [
        f"{_name(one)} is left out: {why}" for why, one in zip(left_out, experiments, strict=True) if why and several
    ]
    if record.info.pairs():
        reasons += [f"{arm} has no counterpart and is left out" for arm in unpaired(record)]
    valid = not whole and not all(spoilt)
    if valid and record.info.load.model == "closed":
        reasons.append(f"the load was of the closed model. {CLOSED_MODEL_HIDES}")
    if valid:
        reasons += _drops(record)
        reasons += [remark for one in experiments for remark in _crowded(record, one)]
    return Trust(Validity(valid, tuple(dict.fromkeys(reasons))), left_out)


def _drops(record: Record) -> list[str]:
    """A remark for each fault arm in which arrivals found no free virtual user; in a baseline arm that is a fault."""
    remarks = []
    users = record.info.load.users
    for name in record.arms_of("fault"):
        samples = record.arm(name)
        dropped = int((samples.error == samples.error_names.index("dropped")).sum())
        if dropped:
            remarks.append(
                f"{name}: {dropped:,} arrivals were not sent, because {f'all {users:,}' if users else 'all'} virtual"
                " users waited for answers: they count as failed; with a larger `load.pool` they would have been sent"
            )
    return remarks


def _crowded(record: Record, experiment: Experiment) -> Iterator[str]:
    """A remark for each stretch in which programs that are no part of the run worked in one of the arms only.

    Where the target runs already it is one of them, and what it does is what is looked at.
    """
    baseline, fault, window = experiment.baseline, experiment.fault, experiment.window
    if baseline is None or fault is None or window is None or record.info.target.existing:
        return
    cores = record.info.host.get("cores") if isinstance(record.info.host, dict) else None
    allowed = max(_CROWD, _CROWD_SHARE * cores) if isinstance(cores, int) else _CROWD
    for words, span_ns in (
        ("while the fault was on", (window.active_ns, window.clear_ns)),
        ("after the fault", (window.clear_ns, experiment.end_ns)),
    ):
        if span_ns[1] - span_ns[0] < _SHORTEST_CROWD_NS:
            continue
        used = {
            arm: growth(record.telemetry, arm, _NOT_OURS, span_ns) * NS / (span_ns[1] - span_ns[0])
            for arm in (fault, baseline)
        }
        if abs(used[fault] - used[baseline]) > allowed:
            yield (
                f"{words}, programs that the run did not start took {used[fault]:.1f} processors in {fault} and"
                f" {used[baseline]:.1f} in {baseline}: what differs between the arms may be their doing; run it again"
                " on a calmer machine"
            )


def _of_little_use(experiment: Experiment) -> str:
    if experiment.problem:
        return experiment.problem
    missing = experiment.window.missing if experiment.window is not None else ()
    return f"planned but never confirmed active: {', '.join(missing)}" if missing else ""


def _name(experiment: Experiment) -> str:
    return f"the pair {experiment.baseline}, {experiment.fault}"
