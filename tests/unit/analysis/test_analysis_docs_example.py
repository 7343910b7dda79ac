"""The figures of the worked example in docs/verdict.md are those that the analysis computes."""

import re
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.cells import Cells, Pair
from harness.analysis.decision import decide
from harness.expectations import parse
from harness.stats.paired import mean_of
from harness.stats.proportions import newcombe

PAGE = Path(__file__).parents[3] / "docs" / "verdict.md"
BEFORE_THE_FAULT = [1, 2, 0, 1, 0, 0, 4, 0, 1, 1, 6, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 5, 0, 0, 4, 1, 1]
DURING_THE_FAULT = [4, 7, 5, 3, 6, 8, 4, 5, 6, 2]
AFTER_THE_FAULT = [0, 1, 1, 0, 1, 1, 0, 1, 0, 3, 0, 3, 0, 0, 0, 2, 1, 0, 0, 3]
FAULT = slice(30, 40)


@pytest.fixture(scope="module")
def page():
    return " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def checkout():
    line = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.fullmatch(r" {4}[\d ]+", line))
    baseline = [int(count) for count in line.split()]
    fault = BEFORE_THE_FAULT + DURING_THE_FAULT + AFTER_THE_FAULT
    assert (sum(baseline[FAULT]), sum(fault[FAULT])) == (10, 50)
    return Pair("checkout", cells(baseline), cells(fault), [np.arange(60)], [np.arange(29)])


def cells(failed):
    failures, arrivals = np.array(failed), np.full(len(failed), 100)
    felt = np.full((len(failed), 1), 100, dtype=np.int32)
    return Cells(arrivals, failures, arrivals - failures, arrivals, arrivals, felt, 0)


def test_the_interval_of_independent_requests(page):
    independent = newcombe(50, 1000, 10, 1000).scaled(100)
    assert f"between {independent.low:.2f} and {independent.high:.2f} points" in page


def test_the_noise(page, checkout):
    noise = checkout.noise_of_failures()
    during = noise.at(0.05, 100.0)
    assert f"over all {noise.seconds} undisturbed seconds" in page
    assert f"is {noise.design_effect:.1f} times what independence allows" in page
    assert f"design effect is {during.design_effect:.1f}, and 1,000 checkouts" in page
    assert f"as much as {round(1000 / during.design_effect, -1):.0f} independent ones" in page


@pytest.mark.parametrize(
    ("margin", "outcome", "words"), [(2, "inconclusive", "about 23 s of fault would decide"), (10, "pass", "")]
)
def test_the_decision(page, checkout, margin, outcome, words):
    expectation = parse(f"error-rate of checkout increases by < {margin}pp")
    found = decide(expectation, checkout, FAULT, 10.0)
    assert found.outcome == outcome
    assert words in found.why
    assert words in page
    assert f"{found.shown.low:.3g} to {found.shown.high:.3g} points" in page


def test_calmer_seconds_would_have_decided(checkout):
    calm = cells([1] * 60)
    before = cells([1] * 30 + DURING_THE_FAULT + [1] * 20)
    pair = Pair("checkout", calm, before, checkout.calm_baseline, checkout.calm_fault)
    found = decide(parse("error-rate of checkout increases by < 2pp"), pair, FAULT, 10.0)
    assert found.outcome == "fail"


def test_the_repeats(page):
    mean = mean_of([3.1, 4.4, 2.2, 5.0, 3.6])
    interval = mean.interval(0.9)
    assert f"Their mean is {mean.value:.2f}, the interval over runs {interval.low:.2f} to {interval.high:.2f}" in page
    assert f"margin of 1 point is {mean.p_above(1.0):.3f}" in page
