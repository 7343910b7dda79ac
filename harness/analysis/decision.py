"""One number held against its margin, from what one pair of arms showed: fail, pass or inconclusive.

`fail` when the whole interval is beyond the margin, `pass` when it is wholly inside, else `inconclusive` with how much
longer would do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.analysis.cells import Pair
from harness.analysis.effects import Effect, failure_effect, goodput_effect, quantile_effect
from harness.analysis.verdict import Outcome
from harness.expectations import Expectation
from harness.stats.noise import Noise
from harness.stats.proportions import Estimate

_FEWEST_FOR_P999 = 10_000
_LONGEST_FACTOR = 50.0
_SMALLEST_P = 1e-12


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome and why. `shown`: the value in the expectation's unit and the verdict's sign.

    `effect` and `shown` are None where there is no number to show. `beyond_doubt`: an effect so large that it fails
    whatever the noise. `judged`: whether there was enough to hold the interval against the margin.
    """

    outcome: Outcome
    why: str
    effect: Effect | None = None
    shown: Estimate | None = None
    beyond_doubt: bool = False
    judged: bool = True


def decide(expectation: Expectation, pair: Pair | None, where: slice, length_s: float) -> Decision:
    """An expectation on a number (not on the class or the recovery) against the bins `where`, `length_s` long."""
    effect = None if pair is None else _measure(expectation, pair, where, length_s)
    if effect is None:
        what = f"`{expectation.endpoint}`" if expectation.endpoint else "the system"
        kind = "successful arrivals" if expectation.successes_only else "arrivals"
        return Decision("inconclusive", f"an arm has no {kind} at {what} while the fault was on", judged=False)
    reading = _read(expectation, effect)
    if reading is None:
        why = "the baseline arm's value is zero, so there is no percentage of it"
        return Decision("inconclusive", why, effect, judged=False)
    return _decide(expectation, reading, effect, length_s)


def p_beyond(expectation: Expectation, pair: Pair, where: slice, length_s: float, noise: Noise) -> float:
    """One-sided p-value of `the truth is within the margin`: the decision's interval turned round.

    It is below 0.025 exactly where the 95 % interval is wholly beyond the margin, above 0.975 where it is within.
    Raises ValueError where there is no number.
    """
    margin = expectation.margin or 0.0

    def worse(level: float) -> Estimate:
        effect = _measure(expectation, pair, where, length_s, level, noise)
        reading = None if effect is None else _read(expectation, effect)
        if reading is None:
            raise ValueError("expected an expectation with a number in both arms")
        return reading.worse

    beyond = worse(0.95).value > margin
    low, high = math.log(_SMALLEST_P), math.log(0.5)
    for _ in range(40):
        middle = (low + high) / 2
        found = worse(1 - 2 * math.exp(middle))
        low, high = (low, middle) if (found.low > margin if beyond else found.high < margin) else (middle, high)
    return math.exp(high) if beyond else 1 - math.exp(high)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is held against the margin, in its unit: `shown` in the verdict's sign; of the others more is worse."""

    shown: Estimate
    worse: Estimate
    worse_plain: Estimate
    overwhelming: float


def _measure(
    expectation: Expectation,
    pair: Pair,
    where: slice,
    length_s: float,
    level: float = 0.95,
    noise: Noise | None = None,
) -> Effect | None:
    if expectation.metric == "error-rate":
        return failure_effect(pair, where, level, noise)
    if expectation.metric == "goodput":
        return goodput_effect(pair, where, length_s, level, noise)
    assert expectation.quantile is not None, "the grammar has no other metric"
    return quantile_effect(pair, where, expectation.quantile, level, noise)


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


def _decide(expectation: Expectation, reading: _Reading, effect: Effect, length_s: float) -> Decision:
    margin, worse = expectation.margin or 0.0, reading.worse
    value = f"{_text(reading.shown.value)} {expectation.unit} ({_span(reading.shown)})"

    def decided(outcome: Outcome, why: str, *, beyond_doubt: bool = False, judged: bool = True) -> Decision:
        return Decision(outcome, f"{value} {why}", effect, reading.shown, beyond_doubt, judged)

    enough_raw = min(effect.n_baseline, effect.n_fault) >= effect.fewest
    # A quantile may be made by a few seconds (a pause), which are no proof of anything that lasts.
    lasting = effect.typical > (effect.relative.value if effect.relative else 0.0) / 2
    if worse.value > reading.overwhelming and reading.worse_plain.low > margin and enough_raw and lasting:
        why = f"is far beyond the margin of {_text(margin)} {expectation.unit}"
        return decided("fail", why, beyond_doubt=True)
    quantile = expectation.quantile
    if not effect.enough or (quantile is not None and quantile >= 0.999 and effect.n_fault < _FEWEST_FOR_P999):
        fewest = _FEWEST_FOR_P999 if quantile is not None and quantile >= 0.999 else effect.fewest
        factor = fewest * (effect.noise.design_effect if quantile is not None else 1) / max(1, effect.n_fault)
        why = f"but {effect.effective:.0f} independent arrivals are too few for {expectation.metric}"
        why += f"; about {max(1.0, factor) * length_s:.0f} s of fault would decide"
        return decided("inconclusive", why, judged=False)
    if not effect.noise.known:
        why = (
            f"but the {effect.noise.seconds} undisturbed seconds are too few to know how much it wanders by "
            f"itself; steady phases of {30 * effect.noise.correlation_s:.0f} s in all would do"
            if 0 < effect.noise.correlation_s < 1e6
            else "but there are too few undisturbed seconds to know how much it wanders by itself"
        )
        return decided("inconclusive", why, judged=False)
    if worse.low > margin:
        return decided("fail", f"is wholly beyond the margin of {_text(margin)} {expectation.unit}")
    if worse.high < margin:
        return decided("pass", f"is wholly within the margin of {_text(margin)} {expectation.unit}")
    longer = _longer(worse, margin, length_s)
    return decided("inconclusive", f"reaches across the margin of {_text(margin)} {expectation.unit}; {longer}")


def _longer(worse: Estimate, margin: float, length_s: float) -> str:
    """How long a fault would decide, if the value stayed as it is: the interval shrinks with the root of the time."""
    distance = abs(worse.value - margin)
    half = worse.high - worse.value if worse.value < margin else worse.value - worse.low
    factor = (half / distance) ** 2 if distance > 0 else _LONGEST_FACTOR
    if not factor < _LONGEST_FACTOR:
        return f"more than {_LONGEST_FACTOR:.0f} times as much fault would be needed to decide"
    return f"about {max(1.1, factor) * length_s:.0f} s of fault would decide"


def _negated(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def _text(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _span(estimate: Estimate) -> str:
    high = "no upper limit" if estimate.high == float("inf") else _text(estimate.high)
    return f"{_text(estimate.low)} to {high}"
