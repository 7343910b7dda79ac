"""Expectations held against the record: fail, pass or inconclusive by margin, never by p-value.

`fail` when the whole interval is beyond the margin, `pass` when it is wholly inside, else `inconclusive` with how much
longer would do. Every interval is a two-sided 95 % one of its own: of m expectations about a system without effects,
at most m x 2.5 % fail by chance. The run passes only when all hold, which needs no correction; corrected p-values come
from repeated runs, so `p_adjusted` is None for a single one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analysis.cells import ALL, Pair
from harness.analysis.effects import Effect, failure_effect, goodput_effect, quantile_effect
from harness.analysis.recovery import STRETCH_S, Healing
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Cascade, Comparison, Interval, Outcome
from harness.expectations import Expectation
from harness.stats.proportions import Estimate

_NO_INTERVAL = Interval(None, None)
_FEWEST_FOR_P999 = 10_000
_LONGEST_FACTOR = 50.0


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
    pair = pairs.get(expectation.endpoint or ALL)
    where, length_s = material.seconds.during, material.seconds.length_s(material.seconds.during)
    effect = None if pair is None else _measure(expectation, pair, where, length_s)
    if effect is None:
        what = f"`{expectation.endpoint}`" if expectation.endpoint else "the system"
        kind = "successful arrivals" if expectation.successes_only else "arrivals"
        return undecided(text, expectation, f"an arm has no {kind} at {what} while the fault was on")
    reading = _read(expectation, effect)
    if reading is None:
        return undecided(text, expectation, "the baseline arm's value is zero, so there is no percentage of it")
    outcome, why = _decide(expectation, reading, effect, length_s)
    return Comparison(
        expectation=text,
        endpoint=expectation.endpoint,
        metric=expectation.metric,
        phase="fault",
        baseline=effect.baseline.value,
        fault=effect.fault.value,
        difference=_finite(reading.shown.value),
        interval=Interval(_finite(reading.shown.low), _finite(reading.shown.high)),
        unit=expectation.unit,
        margin=_signed_margin(expectation),
        p_adjusted=None,
        outcome=outcome,
        why=_sentence(why),
        n_baseline=effect.n_baseline,
        n_fault=effect.n_fault,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is held against the margin, in its unit: `shown` in the verdict's sign; of the others more is worse."""

    shown: Estimate
    worse: Estimate
    worse_plain: Estimate
    overwhelming: float


def _measure(expectation: Expectation, pair: Pair, where: slice, length_s: float) -> Effect | None:
    if expectation.metric == "error-rate":
        return failure_effect(pair, where)
    if expectation.metric == "goodput":
        return goodput_effect(pair, where, length_s)
    assert expectation.quantile is not None, "the grammar has no other metric"
    return quantile_effect(pair, where, expectation.quantile)


def _read(expectation: Expectation, effect: Effect) -> _Reading | None:
    """The value of the expectation's form, and beyond what an effect is overwhelming: 4 margins and 4 points of errors.

    For response times 4 margins and 40 % (or ms), for a limit on them twice the limit.
    """
    margin = expectation.margin or 0.0
    if expectation.form == "limit":
        scale = 100.0 if expectation.metric == "error-rate" else 1.0
        found = effect.fault.scaled(scale)
        return _Reading(found, found, found, 4 * margin + 4 if expectation.metric == "error-rate" else 2 * margin)
    if expectation.metric == "error-rate":
        found = effect.change.scaled(100)
        return _Reading(found, found, effect.change_plain.scaled(100), 4 * margin + 4)
    if expectation.metric == "goodput":
        if effect.relative is None or effect.relative_plain is None:
            return None
        shown, plain = effect.relative.scaled(100), effect.relative_plain.scaled(100)
        return _Reading(shown, _negated(shown), _negated(plain), 4 * margin + 4)
    if expectation.unit == "ms":
        return _Reading(effect.change, effect.change, effect.change_plain, 4 * margin + 40)
    if effect.relative is None or effect.relative_plain is None:
        return None
    found = effect.relative.scaled(100)
    return _Reading(found, found, effect.relative_plain.scaled(100), 4 * margin + 40)


def _decide(expectation: Expectation, reading: _Reading, effect: Effect, length_s: float) -> tuple[Outcome, str]:
    margin, worse = expectation.margin or 0.0, reading.worse
    value = f"{_text(reading.shown.value)} {expectation.unit} ({_span(reading.shown)})"
    enough_raw = min(effect.n_baseline, effect.n_fault) >= effect.fewest
    if worse.value > reading.overwhelming and reading.worse_plain.low > margin and enough_raw:
        return "fail", f"{value} is far beyond the margin of {_text(margin)} {expectation.unit}"
    quantile = expectation.quantile
    if not effect.enough or (quantile is not None and quantile >= 0.999 and effect.n_fault < _FEWEST_FOR_P999):
        fewest = _FEWEST_FOR_P999 if quantile is not None and quantile >= 0.999 else effect.fewest
        factor = fewest * (effect.noise.design_effect if quantile is not None else 1) / max(1, effect.n_fault)
        why = f"{value}, but {effect.effective:.0f} independent arrivals are too few for {expectation.metric}"
        return "inconclusive", f"{why}; about {max(1.0, factor) * length_s:.0f} s of fault would decide"
    if not effect.noise.known:
        return "inconclusive", (
            f"{value}, but the {effect.noise.seconds} undisturbed seconds are too few to know how much it wanders by "
            f"itself; steady phases of {30 * effect.noise.correlation_s:.0f} s in all would do"
            if 0 < effect.noise.correlation_s < 1e6
            else f"{value}, but there are too few undisturbed seconds to know how much it wanders by itself"
        )
    if worse.low > margin:
        return "fail", f"{value} is wholly beyond the margin of {_text(margin)} {expectation.unit}"
    if worse.high < margin:
        return "pass", f"{value} is wholly within the margin of {_text(margin)} {expectation.unit}"
    return "inconclusive", (
        f"{value} reaches across the margin of {_text(margin)} {expectation.unit}; {_longer(worse, margin, length_s)}"
    )


def _longer(worse: Estimate, margin: float, length_s: float) -> str:
    """How long a fault would decide, if the value stayed as it is: the interval shrinks with the root of the time."""
    distance = abs(worse.value - margin)
    half = worse.high - worse.value if worse.value < margin else worse.value - worse.low
    factor = (half / distance) ** 2 if distance > 0 else _LONGEST_FACTOR
    if not factor < _LONGEST_FACTOR:
        return f"more than {_LONGEST_FACTOR:.0f} times as much fault would be needed to decide"
    return f"about {max(1.1, factor) * length_s:.0f} s of fault would decide"


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


def _negated(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _text(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _span(estimate: Estimate) -> str:
    high = "no upper limit" if estimate.high == float("inf") else _text(estimate.high)
    return f"{_text(estimate.low)} to {high}"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else text + "."
