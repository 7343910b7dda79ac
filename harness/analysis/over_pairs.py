"""Numbers over pairs of runs: paired t on the differences, so that what differs between runs counts as noise.

A claim is made at 5 % one-sided, so intervals are two-sided 90 % ones; of several expectations each is corrected for
the others (Holm). Percentages of quantiles are averaged as logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from harness.analysis.experiment import Window
from harness.analysis.table import FEWEST_FOR_P999
from harness.analysis.verdict import Comparison, Composite, Contrast, Interval, Outcome
from harness.expectations import Expectation
from harness.stats.logbins import fewest_for
from harness.stats.multiple import holm
from harness.stats.paired import FEWEST_FOR_FLIPS, Mean, mean_of, sign_flips
from harness.stats.proportions import NORMAL_95

ALPHA = 0.05
CONFIDENCE = 1 - 2 * ALPHA
METHOD = "paired t over runs, Holm over the expectations"
_MOST_PAIRS = 100


@dataclass(frozen=True, slots=True)
class Question:
    """An expectation on a number, and what every used pair of arms says to it by itself."""

    expectation: Expectation
    each: Sequence[Comparison]


def hold(questions: Mapping[int, Question], window: Window | None) -> tuple[dict[int, Comparison], Composite]:
    """The questions answered over the pairs, by their keys, and all of them together."""
    samples = {at: _sample(question) for at, question in questions.items()}
    known = {at: sample for at, sample in samples.items() if isinstance(sample, _Sample)}
    adjusted = dict(zip(known, holm([sample.p for sample in known.values()]), strict=True)) if known else {}
    answers = {}
    for at, question in questions.items():
        sample = samples[at]
        answers[at] = (
            _answer(question, sample, adjusted[at]) if isinstance(sample, _Sample) else _undecided(question, sample)
        )
    return answers, Composite(
        faults=window.faults if window is not None else (),
        expectations=tuple(questions[at].each[0].expectation for at in known),
        p=_short(min(adjusted.values())) if adjusted else None,
        alpha=ALPHA,
        method=METHOD,
        p_sign_flips=_flipped(list(known.values())),
    )


def combined_rows(tables: Sequence[Sequence[Contrast]]) -> tuple[Contrast, ...]:
    """The full table over the pairs: rows that every pair has, with 95 % intervals and p-values by paired t."""
    by_key = [{(row.endpoint, row.metric, row.phase): row for row in table} for table in tables]
    common = [key for key in by_key[0] if all(key in table for table in by_key[1:])]
    return tuple(_combined([table[key] for table in by_key]) for key in common)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How numbers of a comparison are put on the scale on which they are averaged, and back."""

    logarithmic: bool
    base: float

    def to(self, value: float) -> float:
        if not self.logarithmic:
            return value
        return math.log(self.base + value) - math.log(self.base or 1.0) if self.base + value > 0 else -math.inf

    def back(self, value: float) -> float:
        return math.exp(value + math.log(self.base or 1.0)) - self.base if self.logarithmic else value


@dataclass(frozen=True, slots=True)
class _Sample:
    """The pairs' numbers on their scale. `sign` is 1 where more is worse, else -1; `p`: not worse than the margin."""

    values: Sequence[float]
    mean: Mean
    scale: _Scale
    margin: float
    sign: int

    @property
    def p(self) -> float:
        return self.mean.p_above(self.margin) if self.sign > 0 else self.mean.p_below(self.margin)

    @property
    def excesses(self) -> list[float]:
        """How much worse than the margin each pair is."""
        return [self.sign * (value - self.margin) for value in self.values]


def _scale_of(expectation: Expectation) -> _Scale:
    """Ratios of quantiles (in % on top of 100) and quantiles themselves (ms) as logarithms, the rest as it is."""
    if expectation.quantile is None:
        return _Scale(False, 0.0)
    if expectation.form == "limit":
        return _Scale(True, 0.0)
    return _Scale(expectation.unit == "%", 100.0)


def _sample(question: Question) -> _Sample | str:
    """The pairs' numbers, or why they are too few."""
    expectation = question.expectation
    with_number = [one for one in question.each if one.difference is not None]
    pairs = len(question.each)
    if len(with_number) < 2:
        return f"only {len(with_number)} of {pairs} pairs of runs have a number: {question.each[0].why[:-1]}"
    if expectation.quantile is not None:
        n = sum(min(one.n_baseline, one.n_fault) for one in with_number)
        fewest = fewest_for(expectation.quantile)
        if expectation.quantile >= 0.999:
            fewest = max(fewest, FEWEST_FOR_P999)
        if n < fewest:
            needed = math.ceil(fewest / max(1.0, n / len(with_number)))
            return f"{n} arrivals in all are too few for {expectation.metric}; {needed} pairs of runs would do"
    scale = _scale_of(expectation)
    values = [scale.to(one.difference or 0.0) for one in with_number]
    margin = scale.to(with_number[0].margin or 0.0)
    if not all(math.isfinite(value) for value in values):
        return "a value of zero has no logarithm, so the pairs of runs can't be averaged"
    own = [_own(one.difference or 0.0, one.interval, scale) for one in with_number]
    return _Sample(values, mean_of(values, own), scale, margin, -1 if expectation.metric == "goodput" else 1)


def _own(value: float, interval: Interval, scale: _Scale) -> tuple[float, float]:
    """The standard errors of a pair's number by itself, below and above; 0 where its interval has no such limit."""
    at = scale.to(value)
    limits = (interval.low, interval.high)
    errors = [0.0 if limit is None else abs(scale.to(limit) - at) / NORMAL_95 for limit in limits]
    below, above = (error if math.isfinite(error) else 0.0 for error in errors)
    return below, above


def _answer(question: Question, sample: _Sample, p_adjusted: float) -> Comparison:
    unit, each = question.expectation.unit, question.each
    margin = each[0].margin or 0.0
    found = sample.mean.interval(CONFIDENCE)
    value, low, high = (sample.scale.back(number) for number in (found.value, found.low, found.high))
    beyond = found.low > sample.margin if sample.sign > 0 else found.high < sample.margin
    within = found.high < sample.margin if sample.sign > 0 else found.low > sample.margin
    span = f"{_text(low)} to {_text(high)}, {CONFIDENCE:.0%}"
    text = f"{_text(value)} {unit} ({span}) over {len(sample.values)} pairs of runs"
    outcome: Outcome = "inconclusive"
    if beyond and p_adjusted <= ALPHA:
        outcome, why = "fail", f"{text} is wholly beyond the margin of {_text(abs(margin))} {unit}."
    elif all(one.outcome == "fail" for one in each):
        outcome, why = "fail", f"{text}; every single pair is beyond the margin of {_text(abs(margin))} {unit}."
    elif within:
        outcome, why = "pass", f"{text} is wholly within the margin of {_text(abs(margin))} {unit}."
    elif beyond:
        why = f"{text} is beyond the margin, but as one of several expectations not surely so (p {p_adjusted:.2g}); "
        why += f"{_more_pairs(sample, ALPHA * sample.p / p_adjusted)}."
    else:
        why = f"{text} reaches across the margin of {_text(abs(margin))} {unit}; {_more_pairs(sample)}."
    return replace(
        each[0],
        baseline=_typical([one.baseline for one in each], sample.scale.logarithmic),
        fault=_typical([one.fault for one in each], sample.scale.logarithmic),
        difference=value,
        interval=Interval(low, high),
        p_adjusted=_short(p_adjusted),
        outcome=outcome,
        why=why,
        n_baseline=sum(one.n_baseline for one in each),
        n_fault=sum(one.n_fault for one in each),
        confidence=CONFIDENCE,
    )


def _undecided(question: Question, why: str) -> Comparison:
    return replace(question.each[0], outcome="inconclusive", why=f"{why[:1].upper()}{why[1:]}.", p_adjusted=None)


def _more_pairs(sample: _Sample, alpha: float = ALPHA) -> str:
    """How many pairs would decide at `alpha` one-sided, if mean and scatter stayed as they are."""
    mean = sample.mean
    distance = abs(mean.value - sample.margin)
    own = mean.own_above if mean.value < sample.margin else mean.own_below
    for pairs in range(mean.pairs + 1, _MOST_PAIRS + 1):
        by_pairs = float(special.stdtrit(pairs - 1, 1 - alpha)) * mean.deviation / math.sqrt(pairs)
        by_runs = float(special.ndtri(1 - alpha)) * own * math.sqrt(mean.pairs / pairs)
        if max(by_pairs, by_runs) < distance:
            return f"about {pairs} pairs of runs in all would decide"
    return f"more than {_MOST_PAIRS} pairs of runs would be needed to decide"


def _flipped(samples: Sequence[_Sample]) -> float | None:
    """All questions together by exact sign flips over the pairs.

    A question whose pairs are within the margin on average is taken as if it were just at it, the worst case: flipped,
    it would otherwise drown the others.
    """
    whole = [sample.excesses for sample in samples]
    if not whole or len({len(one) for one in whole}) > 1 or len(whole[0]) < FEWEST_FOR_FLIPS:
        return None
    excesses = np.array(whole).T
    return min(sign_flips(excesses - np.minimum(0.0, excesses.mean(axis=0))))


def _typical(values: Sequence[float | None], logarithmic: bool) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if logarithmic and min(known) > 0:
        return math.exp(math.fsum(math.log(value) for value in known) / len(known))
    return math.fsum(known) / len(known)


def _combined(rows: Sequence[Contrast]) -> Contrast:
    first = rows[0]
    logarithmic = first.unit == "%"
    shared = replace(
        first,
        baseline=_typical([row.baseline for row in rows], logarithmic),
        fault=_typical([row.fault for row in rows], logarithmic),
        difference=None,
        interval=Interval(None, None),
        p=None,
        n_baseline=sum(row.n_baseline for row in rows),
        n_fault=sum(row.n_fault for row in rows),
        enough=all(row.enough for row in rows),
    )
    scale = _Scale(logarithmic, 100.0)
    values = [scale.to(row.difference) for row in rows if row.difference is not None]
    if len(values) < len(rows) or not all(math.isfinite(value) for value in values):
        return shared
    mean = mean_of(values, [_own(row.difference or 0.0, row.interval, scale) for row in rows])
    found = mean.interval(0.95)
    return replace(
        shared,
        difference=scale.back(found.value),
        interval=Interval(scale.back(found.low), scale.back(found.high)),
        p=_short(min(1.0, 2 * min(mean.p_above(0.0), mean.p_below(0.0)))) if shared.enough else None,
    )


def _text(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _short(p_value: float) -> float:
    return float(f"{p_value:.6g}")
