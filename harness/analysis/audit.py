"""What became of acknowledged writes: held against the expectation, counted for the verdict, told in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis.verdict import AuditedArm, AuditedWrite, Outcome

if TYPE_CHECKING:
    from harness.record.audit import AckedWrite, ArmAudit, AuditInfo

LISTED = 100
"""How many writes of an arm the verdict lists at most; audit.json has them all."""

_NAMED = 5


def audited_arms(audit: AuditInfo | None) -> tuple[AuditedArm, ...]:
    """The counts of every arm that was looked at, with the writes that went wrong."""
    return tuple(_arm(name, found) for name, found in audit.arms.items()) if audit is not None else ()


def _arm(name: str, found: ArmAudit) -> AuditedArm:
    wrong = [AuditedWrite(write.key, write.acknowledged_s, "missing") for write in found.missing]
    wrong += [AuditedWrite(write.key, write.acknowledged_s, "doubled") for write in found.doubled]
    return AuditedArm(
        arm=name,
        acknowledged=found.acknowledged,
        missing=len(found.missing),
        doubled=len(found.doubled),
        unacknowledged=found.unacknowledged,
        problem=found.problem,
        writes=tuple(sorted(wrong, key=lambda write: (write.acknowledged_s, write.key))[:LISTED]),
    )


def judge(arms: Mapping[str, ArmAudit], baseline: str | None, fault: str | None) -> tuple[Outcome, str]:
    """Whether every write that was acknowledged in the fault arm is there once, and why that is known or not."""
    found = arms.get(fault or "")
    if found is None:
        return "inconclusive", "acknowledged writes were not looked up after the fault arm"
    if found.problem:
        return "inconclusive", f"acknowledged writes could not be looked up: {found.problem}"
    if not found.acknowledged:
        return "inconclusive", "no write was acknowledged in the fault arm"
    said = _counted(found)
    before = arms.get(baseline or "")
    if before is not None and before.wrong:
        said += f"; without the fault, {_counted(before)}"
    return ("fail" if found.wrong else "pass"), said


def lost_sentence(audited: Sequence[AuditedArm], fault: str | None) -> str:
    """For whoever decides, what the shown fault arm has lost; "" when that is nothing, or nobody knows."""
    for one in audited:
        if one.arm == fault and (one.missing or one.doubled):
            return f"Of {one.acknowledged:,} acknowledged writes {one.missing:,} are missing, {one.doubled:,} doubled."
    return ""


def _counted(found: ArmAudit) -> str:
    if not found.wrong:
        return f"all {found.acknowledged:,} acknowledged writes are there once"
    told = [_named(kind, writes) for kind, writes in (("missing", found.missing), ("doubled", found.doubled)) if writes]
    return f"of {found.acknowledged:,} acknowledged writes {' and '.join(told)}"


def _named(kind: str, writes: Sequence[AckedWrite]) -> str:
    named = ", ".join(f"{write.key} (acknowledged at {write.acknowledged_s:.2f} s)" for write in writes[:_NAMED])
    more = f" and {len(writes) - _NAMED:,} more" if len(writes) > _NAMED else ""
    return f"{len(writes):,} {'is' if len(writes) == 1 else 'are'} {kind}: {named}{more}"
