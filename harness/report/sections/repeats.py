"""Pair by pair: what each pair of a repeated run shows by itself, for looking; the verdict stands on all together."""

from __future__ import annotations

from harness.analysis.verdict import Comparison, PairSummary
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Content, el, join, table
from harness.report.sections import Part, section


@section(id="repeats", title="Pair by pair", short="Repeats", order=25)
def repeats(context: Context) -> Part | None:
    """Every pair of arms with its class, its recovery and its own numbers."""
    verdict = context.verdict
    if verdict.repeats is None:
        return None
    measured = [
        one for one in verdict.comparisons if any(one.expectation in p.differences for p in verdict.repeats.pairs)
    ]
    rows = [_row(number, pair, measured) for number, pair in enumerate(verdict.repeats.pairs, start=1)]
    header = ["Pair", "Used?", "Damage", "Recovered", *(one.expectation for one in measured)]
    intro = "One pair is one draw of everything that differs from run to run, so a single row proves little."
    return Part(
        join(
            el("p", " ".join(words.repeats(verdict)[:1]), " ", intro, class_="words"),
            table("What each pair shows by itself", header, rows, numeric=range(3, 99)),
        )
    )


def _row(number: int, pair: PairSummary, measured: list[Comparison]) -> list[Content]:
    recovered = numbers.seconds(pair.recovery_s) if pair.recovered else f"not in {numbers.seconds(pair.recovery_s)}"
    return [
        f"{number}: {pair.baseline}, {pair.fault}",
        "yes" if pair.used else f"no: {pair.why}",
        words.CLASSES[pair.klass].word,
        recovered if pair.recovered is not None else numbers.NONE,
        *(_own(one, pair.differences.get(one.expectation)) for one in measured),
    ]


def _own(comparison: Comparison, value: float | None) -> str:
    write = numbers.signed if numbers.is_change(comparison) else numbers.with_unit
    return write(value, comparison.unit)
