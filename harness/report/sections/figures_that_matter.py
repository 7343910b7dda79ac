"""The three numbers that matter, each with its interval and what was allowed; then every expectation in a table."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.verdict import Comparison, Verdict
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Markup, el, join, table
from harness.report.sections import Part, section

_URGENCY = {"fail": 0, "inconclusive": 1, "invalid": 2, "aborted": 2, "pass": 3}
_MANY = 3


@dataclass(frozen=True, slots=True)
class Number:
    """One number on a card: what it is of, the number, what stands under it, and its picture if it has one."""

    label: str
    value: str
    sign: words.Sign
    lines: tuple[str, ...]
    gauge: Markup | None = None


@section(id="numbers", title="The numbers that matter", short="Numbers", order=20)
def figures_that_matter(context: Context) -> Part | None:
    """Up to three cards: the expectations that failed first, then recovery and amplification."""
    cards = choose(context.verdict)
    comparisons = context.verdict.comparisons
    if not cards and not comparisons:
        return None
    intro = el(
        "p",
        f"An interval is the range in which the true value lies with {numbers.confidence(comparisons)} confidence, ",
        "judged from how much this run fluctuated by itself."
        if context.verdict.repeats is None or context.verdict.repeats.used < 2
        else "judged from how the pairs of runs differ.",
        class_="words",
    )
    shown = el("div", [_card(card) for card in cards], class_="cards")
    return Part(join(shown, intro, _expectations(comparisons) if comparisons else None))


def choose(verdict: Verdict) -> list[Number]:
    """The most urgent measured comparisons in the scenario's order, filled up with recovery and retry amplification.

    That the system did not recover is always among them.
    """
    measured = [c for c in verdict.comparisons if c.fault is not None or c.difference is not None]
    measured.sort(key=lambda comparison: _URGENCY[comparison.outcome])
    unasked = None if any(c.metric == "recovery" for c in measured[:_MANY]) else _of_recovery(verdict)
    room = _MANY - 1 if unasked and verdict.recovery.recovered is False else _MANY
    cards = [_of_comparison(comparison) for comparison in measured[:room]]
    return (cards + [card for card in (unasked, _of_amplification(verdict)) if card])[:_MANY]


def _of_comparison(comparison: Comparison) -> Number:
    value = numbers.measured(comparison)
    if comparison.difference is None:
        value = numbers.level(comparison, comparison.fault)
    lines = []
    if limits := numbers.bounds(comparison):
        lines.append(f"{numbers.confidence([comparison])} interval: {limits}")
    if comparison.baseline is not None and comparison.fault is not None:
        before, after = (numbers.level(comparison, x) for x in (comparison.baseline, comparison.fault))
        lines.append(f"{before} in the baseline, {after} with the fault")
    lines.append(f"expected: {comparison.expectation}")
    sign = words.OUTCOMES[comparison.outcome]
    return Number(words.subject(comparison), value, sign, tuple(lines), gauge(comparison))


def _of_recovery(verdict: Verdict) -> Number | None:
    recovery = verdict.recovery
    if recovery.recovered is None or recovery.seconds is None:
        return None
    if recovery.recovered and not recovery.censored:
        sign = words.Sign("✓", "Recovered", "good", "")
        return Number("time to recovery", numbers.seconds(recovery.seconds), sign, ("from the fault being gone",))
    sign = words.Sign("✗", "Not recovered", "bad", "")
    watched = f"watched for {numbers.seconds(recovery.seconds)} after the fault was gone"
    return Number("time to recovery", f"> {numbers.seconds(recovery.seconds)}", sign, (watched,))


def _of_amplification(verdict: Verdict) -> Number | None:
    known = [e for e in verdict.endpoints if e.attempts_per_arrival_fault is not None]
    if not known:
        return None
    worst = max(known, key=lambda endpoint: (endpoint.attempts_per_arrival_fault or 0.0, endpoint.endpoint))
    factor = worst.attempts_per_arrival_fault or 0.0
    high = factor > 1.1
    sign = words.Sign("!", "Amplified", "warn", "") if high else words.Sign("✓", "Not amplified", "good", "")
    lines = (f"most, by clients of {worst.endpoint}" if high else "clients hardly retried",)
    return Number("attempts per request with the fault", numbers.number(factor), sign, lines)


def _card(card: Number) -> Markup:
    return el(
        "div",
        el("h3", card.label),
        el("p", card.value, class_="value"),
        el("p", f"{card.sign.icon} {card.sign.word}", class_=f"badge {card.sign.tone}"),
        card.gauge,
        [el("p", line) for line in card.lines],
        class_=f"card {card.sign.tone}",
    )


def _expectations(comparisons: tuple[Comparison, ...]) -> Markup:
    return table(
        "Every expectation of the scenario, and whether it held",
        [
            "Expectation",
            "Held?",
            "Baseline",
            "With fault",
            "Measured",
            f"{numbers.confidence(comparisons)} interval",
            "Why",
        ],
        [
            [
                comparison.expectation,
                _badge(comparison),
                numbers.level(comparison, comparison.baseline),
                numbers.level(comparison, comparison.fault),
                numbers.measured(comparison),
                numbers.bounds(comparison) or numbers.NONE,
                el("span", comparison.why, class_="why"),
            ]
            for comparison in comparisons
        ],
        class_="stack",
        numeric=range(2, 6),
    )


def _badge(comparison: Comparison) -> Markup:
    """An outcome as icon and word."""
    sign = words.OUTCOMES[comparison.outcome]
    return el("span", f"{sign.icon} {sign.word}", class_=f"badge {sign.tone}")


def gauge(comparison: Comparison) -> Markup | None:
    """The interval on a line from zero, with what is allowed shaded; None when there is nothing to place."""
    difference, margin = comparison.difference, comparison.margin
    if difference is None or margin is None or comparison.metric in ("failures", "recovery", "cascade"):
        return None
    low = comparison.interval.low if comparison.interval.low is not None else difference
    high = comparison.interval.high if comparison.interval.high is not None else difference
    points = (0.0, low, high, difference, margin)
    start, end = min(points), max(points)
    room = (end - start or 1.0) * 0.08
    start, end = start - room, end + room

    def at(value: float) -> float:
        return round((value - start) / (end - start) * 300, 2)

    left, right = (0.0, at(margin)) if margin >= 0 else (at(margin), 300.0)
    allowed = f"allowed: {'up' if margin >= 0 else 'down'} to {numbers.with_unit(margin, comparison.unit)}"
    text = f"{numbers.measured(comparison)}, interval {numbers.bounds(comparison)}, {allowed}"
    shapes = [
        el("rect", x=left, y=4, width=round(right - left, 2), height=16, class_="allowed"),
        el("line", x1=at(0.0), x2=at(0.0), y1=2, y2=22, class_="zero"),
        el("line", x1=at(low), x2=at(high), y1=12, y2=12, class_="interval"),
        el("circle", cx=at(difference), cy=12, r=5, class_="point"),
    ]
    picture = el(
        "svg", el("title", text), shapes, viewBox="0 0 300 24", role="img", preserveAspectRatio="none", class_="gauge"
    )
    return join(picture, el("p", el("span", "", class_="swatch"), allowed, class_="legend"))
