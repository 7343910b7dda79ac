"""Expectations held against the record: fail, pass or inconclusive by margin, never by p-value.

Every interval is a two-sided 95 % one of its own: of m expectations about a system without effects, at most
m x 2.5 % fail by chance. The run passes only when all hold, which needs no correction; corrected p-values come from
repeated runs, so `p_adjusted` is None for a single one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analysis.cells import ALL, Pair
from harness.analysis.decision import decide
from harness.analysis.recovery import STRETCH_S, Healing
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Cascade, Comparison, Interval, Outcome
from harness.expectations import Expectation

_NO_INTERVAL = Interval(None, None)


@dataclass(frozen=True, slots=True)
class Material:
    """What expectations are held against. `successes` are the pairs of successful arrivals alone.

    `problem`: why the arms cannot be compared, else "". `missing`: planned faults that were never confirmed active.
    """

    pairs: Mapping[str, Pair]
    successes: Mapping[str, Pair]
    seconds: Seconds
    cascade: Cascade
    healing: Healing
    problem: str
    missing: tuple[str, ...]


def compare(text: str, expectation: Expectation, material: Material) -> Comparison:
    """One expectation, in the words `text`, against the record."""
    if material.problem:
        return undecided(text, expectation, material.problem)
    if expectation.form == "cascade":
        found = _compare_class(text, expectation, material)
    elif expectation.form == "recovery":
        found = _compare_recovery(text, expectation, material)
    else:
        found = _compare_number(text, expectation, material)
    if material.missing and found.outcome == "pass":
        return undecided(text, expectation, f"planned but never confirmed active: {', '.join(material.missing)}")
    return found


def undecided(text: str, expectation: Expectation | None, why: str) -> Comparison:
    """An inconclusive comparison without numbers."""
    return Comparison(
        expectation=text,
        endpoint=expectation.endpoint if expectation else "",
        metric=expectation.metric if expectation else "",
        phase=_phase(expectation),
        baseline=None,
        fault=None,
        difference=None,
        interval=_NO_INTERVAL,
        unit=expectation.unit if expectation else "",
        margin=_signed_margin(expectation) if expectation else None,
        p_adjusted=None,
        outcome="inconclusive",
        why=_sentence(why),
        n_baseline=0,
        n_fault=0,
    )


def _compare_class(text: str, expectation: Expectation, material: Material) -> Comparison:
    klass = material.cascade.klass
    outcome: Outcome = "pass" if klass in expectation.classes else "fail"
    if klass == "unknown":
        outcome = "inconclusive"
    return _worded(text, expectation, outcome, f"the class is {klass}. {material.cascade.sentence}")


def _compare_recovery(text: str, expectation: Expectation, material: Material) -> Comparison:
    healing, limit_s = material.healing, expectation.bound or 0.0
    recovery = healing.recovery
    if recovery.recovered is None or recovery.seconds is None:
        return undecided(text, expectation, "too little was seen after a confirmed clear of the fault")
    candidate_s = recovery.seconds if recovery.recovered else float(healing.watched_s - healing.seen_good_s)
    short = healing.seen_good_s < STRETCH_S
    if recovery.recovered:
        outcome: Outcome = "pass" if candidate_s <= limit_s else "fail"
        why = f"as in the baseline arm again after {candidate_s:.0f} s, {limit_s:g} s are allowed"
        why += f" (good for the last {healing.seen_good_s} s, where the record ends)" if short else ""
    elif candidate_s > limit_s:
        outcome, why = "fail", f"not recovered in {healing.watched_s} s, {limit_s:g} s are allowed"
    else:
        outcome = "inconclusive"
        why = (
            f"not seen to recover, but only {healing.watched_s} s could be judged; a recovery phase "
            f"{limit_s + STRETCH_S - healing.watched_s:.0f} s longer would decide"
        )
    interval = Interval(float(healing.watched_s), None) if recovery.censored else _NO_INTERVAL
    return _worded(text, expectation, outcome, why, seconds=recovery.seconds, interval=interval)


def _compare_number(text: str, expectation: Expectation, material: Material) -> Comparison:
    pairs = material.successes if expectation.successes_only else material.pairs
    where = material.seconds.during
    decision = decide(expectation, pairs.get(expectation.endpoint or ALL), where, material.seconds.length_s(where))
    effect, shown = decision.effect, decision.shown
    if effect is None or shown is None:
        return undecided(text, expectation, decision.why)
    return Comparison(
        expectation=text,
        endpoint=expectation.endpoint,
        metric=expectation.metric,
        phase="fault",
        baseline=effect.baseline.value,
        fault=effect.fault.value,
        difference=_finite(shown.value),
        interval=Interval(_finite(shown.low), _finite(shown.high)),
        unit=expectation.unit,
        margin=_signed_margin(expectation),
        p_adjusted=None,
        outcome=decision.outcome,
        why=_sentence(decision.why),
        n_baseline=effect.n_baseline,
        n_fault=effect.n_fault,
    )


def _worded(
    text: str,
    expectation: Expectation,
    outcome: Outcome,
    why: str,
    seconds: float | None = None,
    interval: Interval = _NO_INTERVAL,
) -> Comparison:
    return Comparison(
        expectation=text,
        endpoint="",
        metric=expectation.metric,
        phase=_phase(expectation),
        baseline=None,
        fault=seconds,
        difference=seconds,
        interval=interval,
        unit=expectation.unit,
        margin=expectation.margin,
        p_adjusted=None,
        outcome=outcome,
        why=_sentence(why),
        n_baseline=0,
        n_fault=0,
    )


def _phase(expectation: Expectation | None) -> str:
    phases = {"change": "fault", "limit": "fault", "recovery": "after"}
    return phases.get(expectation.form, "") if expectation else ""


def _signed_margin(expectation: Expectation) -> float | None:
    """The margin with the sign of the difference it bounds: a decrease of goodput is negative."""
    if expectation.margin is None:
        return None
    return -expectation.margin if expectation.metric == "goodput" else expectation.margin


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else text + "."
