"""Which pairs of arms the verdict may stand on: an invalid pair is left out by name, and never in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis import neighbours
from harness.analysis.experiment import Experiment, unpaired
from harness.analysis.verdict import Validity
from harness.plan import CLOSED_MODEL_HIDES

if TYPE_CHECKING:
    from harness.record.reader import Record


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
        reasons += filter(None, (neighbours.remark(record, one) for one in experiments))
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


def _of_little_use(experiment: Experiment) -> str:
    if experiment.problem:
        return experiment.problem
    missing = experiment.window.missing if experiment.window is not None else ()
    return f"planned but never confirmed active: {', '.join(missing)}" if missing else ""


def _name(experiment: Experiment) -> str:
    return f"the pair {experiment.baseline}, {experiment.fault}"
