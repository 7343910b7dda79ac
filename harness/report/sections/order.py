"""What broke, in which order: faults, onsets and recovery on one line of time, and the evidence for a cascade."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.analysis.verdict import Evidence, Factor, Onset, Step
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Markup, el, join, table
from harness.report.sections import Part, section

_MANY = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the sequence: from `start_s`, with its uncertainty, to `end_s` where that is known."""

    kind: str
    icon: str
    label: str
    detail: str
    start_s: float
    end_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None


@section(id="order", title="What broke, in which order", short="What broke", order=30)
def order(context: Context) -> Part:
    """The sequence as a list that is also a picture, then the criteria of a cascading failure."""
    cascade = context.verdict.cascade
    if cascade.onsets:
        intro = (
            "From top to bottom: what happened first. The bar says how long it lasted, the thin line how well the "
            "moment is known; two moments less than 2 s apart are a tie."
        )
    else:
        intro = "Nothing was seen to leave its baseline beyond what that baseline does by itself."
    parts = [el("p", intro, class_="words")]
    listed = steps(context)
    if listed:
        parts.append(_sequence(context, listed[:_MANY]))
    if len(listed) > _MANY:
        parts.append(el("p", f"{len(listed) - _MANY} more are in verdict.json."))
    if cascade.path:
        parts.append(_path(cascade.path))
    if any(factor.times > 1 for factor in cascade.factors):
        parts.append(_factors(cascade.factors))
    if cascade.evidence:
        parts.append(_evidence(cascade.evidence))
    return Part(join(parts))


def steps(context: Context) -> list[Row]:
    """Faults, onsets and recovery in order of time."""
    found = [
        Row(
            "window", "⚡", f"fault: {w.name}", f"active for {numbers.seconds(w.end_s - w.start_s)}", w.start_s, w.end_s
        )
        for w in context.windows
    ]
    found += [_onset(context, onset) for onset in context.verdict.cascade.onsets]
    recovery = context.verdict.recovery
    if context.windows and recovery.recovered and recovery.seconds is not None:
        clear_s = context.compared.end_s
        after = f"{numbers.seconds(recovery.seconds)} after the fault was gone"
        found.append(Row("recovered", "✓", "recovered", after, clear_s + recovery.seconds))
    elif context.windows and recovery.recovered is False:
        found.append(
            Row("end", "✗", "end of the recording", "still not recovered", context.duration_s, context.duration_s)
        )
    return sorted(found, key=lambda step: (step.start_s, step.kind != "window", step.label))


def _onset(context: Context, onset: Onset) -> Row:
    detail = ""
    if context.windows:
        since = onset.t_s - context.compared.start_s
        detail = f"{numbers.seconds(abs(since))} {'after' if since >= 0 else 'before'} the fault"
    low, high = onset.interval.low, onset.interval.high
    if low is not None and high is not None:
        detail += f"{', ' if detail else ''}between {numbers.seconds(low)} and {numbers.seconds(high)}"
    if not onset.resolved:
        detail += ", too uncertain to have a place in the order"
    return Row("onset", "●", onset.series, detail, onset.t_s, _until(context, onset), low, high)


def _until(context: Context, onset: Onset) -> float | None:
    """When the endpoint that a series is about was well again; the end when never; None when it is about none."""
    recovery = context.verdict.recovery
    for endpoint in sorted(recovery.per_endpoint, key=len, reverse=True):
        if re.search(rf"(?<![\w/-]){re.escape(endpoint)}(?![\w/-])", onset.series):
            took = recovery.per_endpoint[endpoint]
            return context.duration_s if took is None else context.compared.end_s + took
    return None


def _sequence(context: Context, listed: list[Row]) -> Markup:
    total = context.duration_s

    def percent(value: float) -> str:
        return f"{min(max(value / total * 100, 0), 100):.2f}%"

    def width(start: float, end: float) -> str:
        return f"{min(max((end - start) / total * 100, 0), 100):.2f}%"

    phases = [
        el("span", p.name, class_="phase", style=f"left:{percent(p.start_s)};width:{width(p.start_s, p.end_s)}")
        for p in context.phases
    ]
    shades = [
        el("i", class_="shade", style=f"left:{percent(w.start_s)};width:{width(w.start_s, w.end_s)}")
        for w in context.windows
    ]
    head = el(
        "li", el("div", "", class_="what"), el("div", phases, class_="track phases"), class_="head", aria_hidden="true"
    )
    rows = [head]
    for step in listed:
        marks = list(shades) if step.kind != "window" else []
        if step.end_s is not None and step.end_s > step.start_s:
            style = f"left:{percent(step.start_s)};width:{width(step.start_s, step.end_s)}"
            marks.append(el("i", class_="bar", style=style))
        if step.low_s is not None and step.high_s is not None:
            style = f"left:{percent(step.low_s)};width:{width(step.low_s, step.high_s)}"
            marks.append(el("i", class_="whisker", style=style))
        marks.append(el("i", class_="dot", style=f"left:{percent(step.start_s)}"))
        what = el(
            "div",
            el("span", numbers.seconds(step.start_s), class_="when"),
            el("strong", el("span", step.icon, class_="icon", aria_hidden="true"), " ", step.label),
            el("span", step.detail, class_="detail") if step.detail else None,
            class_="what",
        )
        rows.append(el("li", what, el("div", marks, class_="track", aria_hidden="true"), class_=step.kind))
    return el("ol", rows, class_="sequence")


def _path(path: tuple[Step, ...]) -> Markup:
    """The steps of the propagation path: who was hit first, for sure."""
    steps = [
        el("li", f"{step.before} → {step.after} ({numbers.share(step.probability)} sure)") for step in path[:_MANY]
    ]
    meaning = "Each arrow says what was hit clearly before what. Earlier is not yet the cause, but later is never one."
    return join(el("h3", "How it spread"), el("p", meaning, class_="words"), el("ul", steps, class_="path"))


def _factors(factors: tuple[Factor, ...]) -> Markup:
    """How much retries multiplied the load, tier by tier."""
    rows = [
        [
            f"clients to {one.endpoint}" if one.endpoint else f"{one.caller} to {one.tier}",
            words.PHASES.get(one.phase, one.phase),
            numbers.number(one.baseline),
            numbers.number(one.fault),
            f"{numbers.number(one.times)} ({numbers.interval(one.interval, '', sign=False)})",
            "–" if one.ceiling is None else numbers.number(one.ceiling),
        ]
        for one in factors[:_MANY]
    ]
    return join(
        el("h3", "How retries multiplied the load"),
        table(
            "Attempts per arrival; all retries together allow no more than the last column",
            ["Attempts", "When", "Baseline", "With fault", "Times (95 % interval)", "At most"],
            rows,
            numeric=(2, 3, 4, 5),
        ),
    )


def _evidence(evidence: tuple[Evidence, ...]) -> Markup:
    rows = []
    for one in evidence:
        sign = words.met(one)
        rows.append(
            [
                join(words.criterion(one), el("small", f" {one.criterion}")),
                el("span", f"{sign.icon} {sign.word}", class_=f"badge {sign.tone}"),
                one.endpoint or "all",
                el("span", one.text, class_="why"),
            ]
        )
    return join(
        el("h3", "Is it a cascading failure?"),
        table(
            "What tells a cascading failure from local damage",
            ["Sign of it", "Seen?", "Where", "What was measured"],
            rows,
            class_="stack",
            numeric=(),
        ),
    )
