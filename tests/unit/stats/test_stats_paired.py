"""Pairs of runs, against scipy and statsmodels, and the figures that plans are made from."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from harness.stats.paired import detectable, mean_of, sign_flips

DIFFERENCES = [0.12, 0.31, -0.05, 0.22, 0.18, 0.09]


def test_the_paired_t_agrees_with_scipy():
    found = mean_of(DIFFERENCES)
    test = stats.ttest_1samp(DIFFERENCES, 0.05, alternative="greater")
    assert found.p_above(0.05) == pytest.approx(test.pvalue)
    assert found.p_below(0.05) == pytest.approx(1 - test.pvalue)
    interval = test.confidence_interval(0.95)
    assert found.interval(0.90).low == pytest.approx(interval.low)


def test_pairs_that_agree_by_chance_are_not_surer_than_their_own_intervals():
    found = mean_of([0.0, 0.0, 0.0], own=[(0.0, 0.4), (0.0, 0.4), (0.0, 0.4)])
    assert found.interval(0.9).low == 0
    assert found.interval(0.9).high == pytest.approx(1.6449 * 0.4 / math.sqrt(3), rel=1e-4)
    assert found.p_below(0.1) > 0.05 > found.p_below(1.0) > 0
    assert mean_of([0.0, 0.0, 0.0]).interval(0.9).high == 0
    assert mean_of([0.0, 0.0, 0.0]).p_below(0.1) == 0


def test_sign_flips_agree_with_scipys_permutation_test():
    expected = stats.permutation_test(
        (DIFFERENCES,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert sign_flips(np.array(DIFFERENCES)[:, None]) == pytest.approx([expected.pvalue])


def test_five_pairs_reach_one_in_thirty_two():
    assert sign_flips(np.array([[1.0], [2.0], [1.5], [0.7], [1.1]])) == [1 / 32]
    assert sign_flips(np.ones((5, 1))) == [1 / 32]


def test_flipping_pairs_together_costs_nothing_where_the_questions_are_one():
    one = np.array(DIFFERENCES)[:, None]
    assert sign_flips(np.hstack((one, 2 * one, 3 * one))) == pytest.approx(sign_flips(one) * 3)
    rng = np.random.default_rng(3)
    several = np.hstack((one, rng.normal(0, 0.2, (6, 5))))
    assert sign_flips(several)[0] >= sign_flips(one)[0]


def test_many_pairs_are_sampled_and_stay_reproducible():
    excesses = np.random.default_rng(1).normal(0.3, 1.0, (40, 2))
    assert sign_flips(excesses) == sign_flips(excesses)
    assert sign_flips(excesses[:, :1])[0] == pytest.approx(
        stats.ttest_1samp(excesses[:, 0], 0, alternative="greater").pvalue, abs=0.01
    )


@pytest.mark.parametrize("pairs", [3, 5, 10])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_the_detectable_difference_agrees_with_statsmodels(pairs, power):
    found = detectable(1.0, pairs, power)
    assert TTestPower().power(found, pairs, 0.05, alternative="larger") == pytest.approx(power, abs=1e-6)


def test_one_pair_detects_nothing():
    assert detectable(0.05, 1, 0.8) == math.inf
    with pytest.raises(ValueError, match="two pairs"):
        mean_of([0.1])
