"""Acknowledged writes: how many were looked up after each arm, and which were not there, or twice."""

from __future__ import annotations

from harness.report import numbers
from harness.report.context import Context
from harness.report.markup import el, join, table
from harness.report.sections import Part, section

_MANY = 20


@section(id="acknowledged", title="What clients were told is stored", short="Acknowledged writes", order=65)
def acknowledged(context: Context) -> Part | None:
    """The counts of each arm, then the writes that went wrong."""
    arms = context.verdict.audit
    if not arms:
        return None
    intro = (
        "After each arm the target was asked for every write of which a client had been told that it is stored. One "
        "that is missing was promised and lost. A write that nobody was told of is no loss: its client got an error, "
        "or had left, and may try again."
    )
    counts = table(
        "Acknowledged writes, arm by arm",
        ("Arm", "Acknowledged", "Missing", "Doubled", "There, but nobody was told", "Looked up"),
        [
            [
                one.arm,
                numbers.whole(one.acknowledged),
                numbers.NONE if one.problem else numbers.whole(one.missing),
                numbers.NONE if one.problem else numbers.whole(one.doubled),
                numbers.NONE if one.unacknowledged is None else numbers.whole(one.unacknowledged),
                f"no: {one.problem}" if one.problem else "yes",
            ]
            for one in arms
        ],
        numeric=range(1, 5),
    )
    wrong = [(one.arm, write) for one in arms for write in one.writes]
    if not wrong:
        return Part(join(el("p", intro, class_="words"), counts))
    listed = table(
        "Writes that are not there once, by the time they were acknowledged",
        ("Write", "Arm", "Acknowledged at", "What"),
        [[write.key, arm, numbers.seconds(write.acknowledged_s), write.what] for arm, write in wrong[:_MANY]],
        numeric=range(2, 3),
    )
    left = sum(one.missing + one.doubled for one in arms) - min(len(wrong), _MANY)
    more = el("p", f"{left} more are in audit.json.") if left else None
    return Part(join(el("p", intro, class_="words"), counts, listed, more))
