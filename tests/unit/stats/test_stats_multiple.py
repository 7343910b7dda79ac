"""Multiplicity: the published example, statsmodels, and the family's error rate by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from statsmodels.stats.multitest import multipletests

from harness.stats.multiple import benjamini_hochberg, block_scores, holm, step_down

BENJAMINI_HOCHBERG_1995 = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip


def test_the_example_of_benjamini_and_hochberg():
    assert sum(p <= 0.05 for p in benjamini_hochberg(BENJAMINI_HOCHBERG_1995)) == 4
    assert sum(p * 15 <= 0.05 for p in BENJAMINI_HOCHBERG_1995) == 3
    assert sum(p <= 0.05 for p in holm(BENJAMINI_HOCHBERG_1995)) == 3


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_and_benjamini_hochberg_agree_with_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 99))
def test_step_down_lies_between_the_p_value_and_holm(p, seed):
    draws = np.random.default_rng(seed).standard_normal((400, len(p)))
    found = step_down(p, draws)
    for value, own, bound in zip(found, p, holm(p), strict=True):
        assert min(own, bound) - 1e-12 <= value <= bound + 1e-12


def test_tests_that_say_the_same_need_no_correction():
    same = np.repeat(np.random.default_rng(1).standard_normal((20_000, 1)), 5, axis=1)
    assert step_down([0.03] * 5, same) == pytest.approx([0.03] * 5, abs=0.004)
    apart = np.random.default_rng(1).standard_normal((20_000, 5))
    assert step_down([0.03] * 5, apart)[0] == pytest.approx(1 - 0.97**5, abs=0.006)


def test_the_family_errs_as_seldom_as_one_test():
    rng = np.random.default_rng(5)
    draws = rng.multivariate_normal(np.zeros(4), 0.5 + 0.5 * np.eye(4), size=4000)
    alarms = sum(
        min(step_down(ndtr(-rng.multivariate_normal(np.zeros(4), 0.5 + 0.5 * np.eye(4))), draws)) <= 0.05
        for _ in range(800)
    )
    assert 0.03 <= alarms / 800 <= 0.07


def test_block_scores_have_the_correlation_of_the_seconds():
    rng = np.random.default_rng(2)
    first = rng.standard_normal(300)
    series = np.column_stack((first, 0.8 * first + 0.6 * rng.standard_normal(300), rng.standard_normal(300)))
    scores = block_scores([series[:150], series[150:]], 3, 20_000, seed=4)
    found = np.corrcoef(scores, rowvar=False)
    assert scores.std(axis=0) == pytest.approx(1, abs=0.03)
    assert found[0, 1] == pytest.approx(0.8, abs=0.1)
    assert found[0, 2] == pytest.approx(0, abs=0.2)


def test_block_scores_of_nothing_are_independent():
    flat = block_scores([np.zeros((60, 2))], 2, 20_000, seed=4)
    assert np.corrcoef(flat, rowvar=False)[0, 1] == pytest.approx(0, abs=0.03)
    assert block_scores([np.ones((3, 2))], 2, 10, seed=1).shape == (10, 2)


@pytest.mark.parametrize("p", [[-0.1], [1.1], [float("nan")]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(p)
