"""Whole distributions: scipy's distances, and a p-value that survives what breaks the plain test."""

import numpy as np
import pytest
from scipy import stats

from harness.stats.whole import distance

VALUES = np.arange(1.0, 41.0)


def histograms(rng, levels):
    """Per-second histograms of 50 arrivals around the second's level."""
    rows = []
    for level in levels:
        drawn = np.clip(np.round(rng.normal(level, 3.0, 50)), 1, 40).astype(int)
        rows.append(np.bincount(drawn, minlength=41)[1:])
    return np.array(rows)


def test_the_distances_are_scipys():
    rng = np.random.default_rng(1)
    one, other = histograms(rng, [15] * 30), histograms(rng, [18] * 30)
    found = distance(one, other, VALUES, 1, seed=1)
    samples = [np.repeat(VALUES, counts.sum(axis=0)) for counts in (one, other)]
    assert found.ks == pytest.approx(stats.ks_2samp(*samples).statistic)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(*samples))
    assert found.ks_p == pytest.approx(1 / 1000)


def test_seconds_that_wander_together_raise_no_more_false_alarms_than_asked_for():
    rng = np.random.default_rng(7)
    alarms = plain = 0
    for _ in range(200):
        arms = []
        for _ in range(2):
            wander, levels = 0.0, []
            for _ in range(60):
                wander = 0.6 * wander + rng.normal(0, 0.8)
                levels.append(18 + wander)
            arms.append(histograms(rng, levels))
        alarms += distance(*arms, VALUES, 6, seed=1).ks_p <= 0.05
        plain += stats.ks_2samp(*(np.repeat(VALUES, arm.sum(axis=0)) for arm in arms)).pvalue <= 0.05
    assert alarms / 200 <= 0.10
    assert plain / 200 >= 0.20


def test_more_bins_than_needed_change_little():
    rng = np.random.default_rng(3)
    fine = np.linspace(1, 40, 900)
    one = np.array([np.histogram(rng.normal(15, 3, 400), bins=900, range=(1, 40))[0] for _ in range(20)])
    other = np.array([np.histogram(rng.normal(15.3, 3, 400), bins=900, range=(1, 40))[0] for _ in range(20)])
    found = distance(one, other, fine, 1, seed=2)
    assert found.wasserstein_p <= 0.05
    same = distance(one[:10], one[10:], fine, 1, seed=2)
    assert same.ks_p > 0.05


def test_few_blocks_give_distances_and_no_p_value():
    rng = np.random.default_rng(1)
    found = distance(histograms(rng, [15] * 5), histograms(rng, [30] * 5), VALUES, 1, seed=1)
    assert found.ks > 0.9
    assert (found.ks_p, found.blocks) == (None, 5)
    assert distance(histograms(rng, [15] * 5), np.zeros((5, 40), dtype=int), VALUES, 1, seed=1) is None
