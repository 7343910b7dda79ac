"""Expectations held against one pair of arms: fail, pass or inconclusive by margin.

Every interval is a two-sided 95 % one of its own. All expectations on numbers together are the run's primary question
(`Composite`): an interval beyond its margin is a failure only when it is also beyond what the largest of so many looks
would show by chance (`p_adjusted` at most 2.5 %), and an overwhelming effect always is. A run passes only when all
hold, which needs no correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.analysis.audit import judge
from harness.analysis.cells import ALL, Pair
from harness.analysis.decision import decide
from harness.analysis.family import ALPHA, METHOD, Look, adjust, look_at
from harness.analysis.guard import guarded
from harness.analysis.recovery import STRETCH_S, Healing
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Cascade, Comparison, Composite, Failures, Interval, Outcome
from harness.expectations import Expectation, ExpectationError

if TYPE_CHECKING:
    from harness.record.audit import ArmAudit

_NO_INTERVAL = Interval(None, None)


@dataclass(frozen=True, slots=True)
class Material:
    """What expectations are held against. `successes` are the pairs of successful arrivals alone.

    `failures` are those of each endpoint, "" for all.
    `problem`: why the arms cannot be compared, else "". `missing`: planned faults that were never confirmed active,
    `faults`: those that were. `audit`: what became of acknowledged writes, by arm; `baseline` and `fault`: this pair's.
    """

    pairs: Mapping[str, Pair]
    successes: Mapping[str, Pair]
    seconds: Seconds
    cascade: Cascade
    healing: Healing
    problem: str
    missing: tuple[str, ...]
    faults: tuple[str, ...]
    failures: Mapping[str, Failures] = field(default_factory=dict)
    audit: Mapping[str, ArmAudit] = field(default_factory=dict)
    baseline: str | None = None
    fault: str | None = None


def compare_all(
    asked: Sequence[tuple[str, Expectation | ExpectationError]], material: Material, seed: int
) -> tuple[tuple[Comparison, ...], Composite | None]:
    """Every sentence of the scenario held against the pair, and all of those on numbers together.

    A sentence that can't be read, or whose check breaks on odd data, is inconclusive. `seed` is for the resampling.
    """
    found: list[tuple[Comparison, Look | None]] = []
    for text, expectation in asked:
        if isinstance(expectation, ExpectationError):
            found.append((undecided(text, None, str(expectation)), None))
        else:
            found.append(_guarded(text, expectation, material))
    if material.problem:
        return tuple(comparison for comparison, _ in found), None
    looks = [(at, look) for at, (_, look) in enumerate(found) if look is not None]
    adjusted = adjust([look for _, look in looks], seed)
    comparisons = [comparison for comparison, _ in found]
    for (at, look), p_adjusted in zip(looks, adjusted, strict=True):
        comparisons[at] = _corrected(comparisons[at], look, p_adjusted, len(looks))
    names = tuple(comparisons[at].expectation for at, _ in looks)
    return tuple(comparisons), Composite(material.faults, names, min(adjusted, default=None), ALPHA, METHOD)


def _guarded(text: str, expectation: Expectation, material: Material) -> tuple[Comparison, Look | None]:
    return guarded(lambda: compare(text, expectation, material), lambda why: (undecided(text, expectation, why), None))


def _corrected(comparison: Comparison, look: Look, p_adjusted: float, looks: int) -> Comparison:
    """The comparison as one of several: what fails only because so much was looked at is undecided."""
    comparison = replace(comparison, p_adjusted=float(f"{p_adjusted:.6g}"))
    if comparison.outcome != "fail" or look.beyond_doubt or p_adjusted <= ALPHA:
        return comparison
    why = (
        f"{comparison.why[:-1]}, but among {looks} expectations one looks so bad by chance more often than in "
        f"{ALPHA:.1%} of runs (p {p_adjusted:.2g}); a longer fault or repeated runs would decide."
    )
    return replace(comparison, outcome="inconclusive", why=why)


def compare(text: str, expectation: Expectation, material: Material) -> tuple[Comparison, Look | None]:
    """One expectation, in the words `text`, against the pair; and as a look at a number, where it is one."""
    look: Look | None = None
    if material.problem:
        return undecided(text, expectation, material.problem), None
    if expectation.form == "cascade":
        found = _compare_class(text, expectation, material)
    elif expectation.form == "recovery":
        found = _compare_recovery(text, expectation, material)
    elif expectation.form == "count":
        found = _compare_count(text, expectation, material)
    elif expectation.form == "audit":
        found = _compare_audit(text, expectation, material)
    else:
        found, look = _compare_number(text, expectation, material)
    if material.missing and found.outcome == "pass":
        why = f"planned but never confirmed active: {', '.join(material.missing)}"
        return undecided(text, expectation, why), None
    return found, look


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


def _compare_count(text: str, expectation: Expectation, material: Material) -> Comparison:
    found, most = material.failures.get(expectation.endpoint), expectation.margin or 0.0
    if found is None or not found.arrivals_fault:
        what = f"`{expectation.endpoint}`" if expectation.endpoint else "the system"
        return undecided(text, expectation, f"nobody asked {what} for anything from the fault's beginning on")
    why = (
        f"{found.failed_fault:,} of {found.arrivals_fault:,} requests failed from the fault's beginning on, "
        f"{found.failed_baseline:,} of {found.arrivals_baseline:,} in the same time without it; "
        f"fewer than {most:,.0f} may"
    )
    return replace(
        undecided(text, expectation, why),
        baseline=float(found.failed_baseline),
        fault=float(found.failed_fault),
        difference=float(found.failed_fault),
        outcome="pass" if found.failed_fault < most else "fail",
        n_baseline=found.arrivals_baseline,
        n_fault=found.arrivals_fault,
    )


def _compare_audit(text: str, expectation: Expectation, material: Material) -> Comparison:
    outcome, why = judge(material.audit, material.baseline, material.fault)
    found = _worded(text, expectation, outcome, why)
    if outcome == "inconclusive":
        return found
    fault, baseline = material.audit[material.fault or ""], material.audit.get(material.baseline or "")
    return replace(
        found,
        baseline=float(baseline.wrong) if baseline is not None and not baseline.problem else None,
        fault=float(fault.wrong),
        n_baseline=baseline.acknowledged if baseline is not None else 0,
        n_fault=fault.acknowledged,
    )


def _compare_number(text: str, expectation: Expectation, material: Material) -> tuple[Comparison, Look | None]:
    pairs = material.successes if expectation.successes_only else material.pairs
    pair, where = pairs.get(expectation.endpoint or ALL), material.seconds.during
    length_s = material.seconds.length_s(where)
    decision = decide(expectation, pair, where, length_s)
    effect, shown = decision.effect, decision.shown
    if pair is None or effect is None or shown is None:
        return undecided(text, expectation, decision.why), None
    comparison = Comparison(
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
    return comparison, look_at(expectation, pair, where, length_s, decision)


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
    phases = {"change": "fault", "limit": "fault", "recovery": "after", "count": "fault and after"}
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
