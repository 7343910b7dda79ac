"""What was asked and what was found: the hypothesis, the scale of damage, every expectation with its answer."""

from __future__ import annotations

from harness.analysis.verdict import CascadeClass, Comparison
from harness.report import words
from harness.report.context import Context
from harness.report.markup import Markup, el, join
from harness.report.sections import Part, section

_SCALE: tuple[CascadeClass, ...] = ("none", "contained", "cascading", "metastable")
_MANY = 8


@section(id="found", title="What was asked, what was found", short="Findings", order=10)
def found(context: Context) -> Part:
    """The hypothesis beside the answer, in words."""
    verdict = context.verdict
    asked = el(
        "div",
        el("h3", "The hypothesis"),
        el("blockquote", verdict.hypothesis or "The scenario states no hypothesis."),
    )
    listed = [_line(comparison) for comparison in verdict.comparisons[:_MANY]]
    answer = el(
        "div",
        el("h3", "What was found"),
        el("p", words.extent(verdict)),
        el("p", words.held(verdict).capitalize() + (":" if listed else ".")),
        el("ul", listed, class_="held") if listed else None,
    )
    return Part(join(el("div", asked, answer, class_="two"), scale(verdict.cascade.klass)))


def _line(comparison: Comparison) -> Markup:
    sign = words.OUTCOMES[comparison.outcome]
    mark = el("span", f"{sign.icon} {sign.word}", class_=f"badge {sign.tone}")
    return el("li", mark, " ", comparison.expectation)


def scale(klass: CascadeClass) -> Markup:
    """How far the damage went, on the scale from none to metastable."""
    if klass not in _SCALE:
        sign = words.CLASSES[klass]
        return el("p", el("strong", f"{sign.icon} How far the damage went: {sign.word.lower()}. "), sign.meaning)
    steps = []
    for step in _SCALE:
        sign = words.CLASSES[step]
        here = step == klass
        steps.append(
            el(
                "li",
                el("strong", f"{sign.icon} {sign.word}" if here else sign.word),
                el("span", sign.meaning),
                el("em", "this run") if here else None,
                class_=f"here {sign.tone}" if here else None,
                aria_current="true" if here else None,
            )
        )
    return join(el("h3", "How far the damage went"), el("ol", steps, class_="scale"))
