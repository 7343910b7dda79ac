"""What else changed: the rows of the full table that are beyond doubt, and the response times as a whole."""

from __future__ import annotations

from harness.analysis.verdict import Contrast, Distribution, LoadAndFault
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Content, Markup, el, join, table
from harness.report.sections import Part, section

_MANY = 30


@section(id="changes", title="Everything that changed", short="Changes", order=62)
def changes(context: Context) -> Part | None:
    """Beyond the expectations: corrected for the number of looks, and what is for exploring only says so."""
    verdict = context.verdict
    if not verdict.table and not verdict.distributions:
        return None
    found = words.changed(verdict)
    text = words.changes(verdict)
    intro = el(
        "p",
        f"{text[:1].upper()}{text[1:]}. " if text else "",
        "All of it, phase by phase, is in verdict.json. A change can be sure and still too small to matter.",
        class_="words",
    )
    return Part(
        join(
            intro,
            _rows(found) if found else None,
            _together(verdict.load_and_fault) if verdict.load_and_fault else None,
            _distributions(verdict.distributions) if verdict.distributions else None,
        )
    )


def _rows(found: list[Contrast]) -> Markup:
    more = f"; {len(found) - _MANY} more in verdict.json" if len(found) > _MANY else ""
    return table(
        f"Changed for sure, the largest first{more}",
        ["What", "When", "Baseline", "With fault", "Change", "95 % interval", "p, adjusted"],
        [
            [
                words.subject(row),
                words.PHASES.get(row.phase, row.phase),
                _level(row.metric, row.baseline),
                _level(row.metric, row.fault),
                numbers.signed(row.difference, row.unit),
                numbers.interval(row.interval, row.unit),
                numbers.p_value(row.p_adjusted),
            ]
            for row in found[:_MANY]
        ],
        numeric=range(2, 7),
    )


def _together(found: tuple[LoadAndFault, ...]) -> Markup:
    """The 2x2: whether the spike did it, the fault did it, or only both together."""
    return table(
        "Load and fault: what only both together do, beyond the sum of each alone",
        ["What", "Neither", "Spike only", "Fault only", "Both", "Together beyond the sum", "95 % interval", "p"],
        [
            [
                words.subject_of(one.metric, one.endpoint),
                *(_level(one.metric, value) for value in (one.neither, one.load_only, one.fault_only, one.both)),
                _beyond(one),
                numbers.interval(one.interval, "pp" if one.scale == "pp" else "") or "one run per cell: none",
                numbers.p_value(one.p),
            ]
            for one in found
        ],
        numeric=range(1, 8),
    )


def _beyond(one: LoadAndFault) -> str:
    return numbers.signed(one.value, "pp") if one.scale == "pp" else f"{numbers.signed(one.value, '')} (logarithm)"


def _distributions(found: tuple[Distribution, ...]) -> Markup:
    rows: list[list[Content]] = [
        [
            one.endpoint or "all endpoints",
            numbers.number(one.ks),
            numbers.p_value(one.ks_p),
            numbers.milliseconds(one.wasserstein_ms),
            numbers.p_value(one.wasserstein_p),
            f"{one.blocks} of {one.block_s} s",
        ]
        for one in sorted(found, key=lambda one: (-one.ks, one.endpoint))[:_MANY]
    ]
    return table(
        "Response times as a whole while the fault was on: for exploring only, not corrected for so many looks",
        ["Endpoint", "Largest gap (KS)", "p", "Moved on average (Wasserstein)", "p", "Blocks swapped"],
        rows,
    )


def _level(metric: str, value: float | None) -> str:
    if metric == "error-rate":
        return numbers.share(value)
    return numbers.number(value) if metric in ("goodput", "attempts") else numbers.milliseconds(value)
