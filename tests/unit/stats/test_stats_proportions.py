import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from harness.stats.proportions import Estimate, difference, exact_limits, newcombe, ratio, wilson

NEWCOMBE_1998 = [
    (56, 70, 48, 80, 0.2000, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.6000, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.5714, 0.0582, 0.8062),
    (5, 56, 0, 29, 0.0893, -0.0381, 0.1926),
    (0, 10, 0, 20, 0.0, -0.1611, 0.2775),
    (10, 10, 0, 20, 1.0, 0.6791, 1.0),
]


@pytest.mark.parametrize("case", NEWCOMBE_1998)
def test_newcombe_gives_the_published_intervals(case):
    x1, n1, x0, n0, value, low, high = case
    found = newcombe(x1, n1, x0, n0)
    assert found.value == pytest.approx(value, abs=5e-5)
    assert found.low == pytest.approx(low, abs=5.1e-5)
    assert found.high == pytest.approx(high, abs=5.1e-5)


@pytest.mark.parametrize(("events", "n"), [(0, 12), (3, 40), (40, 40), (17, 1000)])
def test_wilson_agrees_with_statsmodels(events, n):
    low, high = proportion_confint(events, n, method="wilson")
    found = wilson(events, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("x1", "n1", "x0", "n0"), [(12, 300, 3, 290), (80, 100, 20, 90)])
def test_newcombe_agrees_with_statsmodels(x1, n1, x0, n0):
    expected = confint_proportions_2indep(x1, n1, x0, n0, method="newcomb", compare="diff")
    found = newcombe(x1, n1, x0, n0)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("events", "n"), [(1, 0), (-1, 5), (6, 5), (math.nan, 3)])
def test_wilson_refuses_impossible_counts(events, n):
    with pytest.raises(ValueError, match="expected"):
        wilson(events, n)


def test_a_larger_design_effect_widens_the_interval():
    narrow, wide = newcombe(30, 300, 10, 300), newcombe(3, 30, 1, 30)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_ratio_of_exactly_known_values_has_no_width():
    assert ratio(Estimate(3.0, 3.0, 3.0), Estimate(2.0, 2.0, 2.0)) == Estimate(1.5, 1.5, 1.5)


def test_ratio_with_limits_at_zero_stays_finite_below_and_open_above():
    found = ratio(Estimate(0.5, 0.0, 1.0), Estimate(0.5, 0.0, 1.0))
    assert found.low == 0.0
    assert found.high == math.inf
    assert ratio(Estimate(0.0, 0.0, 0.1), Estimate(0.5, 0.25, 0.8)) == Estimate(0.0, 0.0, 0.4)
    with pytest.raises(ValueError, match="ratio"):
        ratio(Estimate(0.5, 0.4, 0.6), Estimate(0.0, 0.0, 0.1))


def test_ratio_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(600):
        one, other = rng.binomial(200, 0.4), rng.binomial(300, 0.5)
        found = ratio(wilson(one, 200), wilson(other, 300))
        hits += found.low <= 0.8 <= found.high
    assert 0.92 <= hits / 600 <= 0.98


def test_difference_of_equal_estimates_is_centred_on_zero():
    one = wilson(10, 100)
    found = difference(one, one)
    assert found.low == pytest.approx(-found.high)


def test_exact_limits_are_those_of_clopper_and_pearson():
    assert exact_limits(0, 59, 0.95) == (0.0, pytest.approx(1 - 0.05 ** (1 / 59)))
    assert exact_limits(59, 59, 0.95) == (pytest.approx(0.05 ** (1 / 59)), 1.0)
    low, high = proportion_confint(3, 40, alpha=0.10, method="beta")
    assert exact_limits(3, 40, 0.95) == (pytest.approx(low), pytest.approx(high))
    with pytest.raises(ValueError):
        exact_limits(1, 0, 0.95)
