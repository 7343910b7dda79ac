"""Intervals against independent and clustered failures, on hand-made seconds."""

import numpy as np
import pytest

from harness.analysis.cells import Cells, Pair
from harness.analysis.effects import attempts_effect, failure_effect, goodput_effect, quantile_effect
from harness.stats.logbins import bin_of
from harness.stats.proportions import newcombe

RATE = 50
WINDOW = slice(40, 50)


def cells(failed, latency_ms=None, attempts=None):
    failed = np.asarray(failed)
    n = np.full(len(failed), RATE)
    took = np.full(len(failed), 20.0) if latency_ms is None else np.asarray(latency_ms, dtype=float)
    felt = np.zeros((len(failed), 1200), dtype=np.int32)
    felt[np.arange(len(failed)), bin_of((took * 1e6).astype(np.int64))] = RATE
    sent = n if attempts is None else n * attempts
    return Cells(n, failed, n - failed, sent, sent * (attempts or 1), felt, 0)


def pair(baseline, fault):
    return Pair("checkout", baseline, fault, [np.arange(len(baseline.arrivals))], [np.arange(WINDOW.start)])


def test_without_clustering_the_interval_is_nearly_newcombes():
    steady = np.full(60, 2)
    risen = steady.copy()
    risen[WINDOW] = 4
    found = failure_effect(pair(cells(steady), cells(risen)), WINDOW).change
    plain = newcombe(40, 500, 20, 500)
    assert found.low < plain.low
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=0.05)


def test_where_nothing_ever_failed_some_wandering_is_assumed():
    still = np.zeros(60, dtype=int)
    risen = still.copy()
    risen[WINDOW] = 10
    found, plain = failure_effect(pair(cells(still), cells(risen)), WINDOW).change, newcombe(100, 500, 0, 500)
    assert found.low < plain.low < plain.high < found.high
    assert failure_effect(pair(cells(still), cells(still)), WINDOW).change == newcombe(0, 500, 0, 500)


def test_the_typical_second_is_not_moved_by_a_few():
    still, slow = np.zeros(60, dtype=int), np.full(60, 20.0)
    few, all_of_it = slow.copy(), slow.copy()
    few[WINDOW.start : WINDOW.start + 3] = all_of_it[WINDOW] = 90.0
    once = quantile_effect(pair(cells(still), cells(still, few)), WINDOW, 0.95)
    lasting = quantile_effect(pair(cells(still), cells(still, all_of_it)), WINDOW, 0.95)
    assert once.relative.value == lasting.relative.value == pytest.approx(3.5, rel=0.02)
    assert (once.typical, lasting.typical) == (0.0, pytest.approx(3.5, rel=0.02))


def test_clustered_failures_widen_it_by_their_design_effect():
    rng = np.random.default_rng(4)
    spread = rng.binomial(RATE, 0.1, 60)
    clustered = np.where(np.arange(60) % 15 < 5, 15, 0) + rng.binomial(RATE, 0.02, 60)
    independent = failure_effect(pair(cells(spread), cells(spread)), WINDOW)
    dependent = failure_effect(pair(cells(clustered), cells(clustered)), WINDOW)
    widths = [effect.change.high - effect.change.low for effect in (independent, dependent)]
    assert widths[1] > 2 * widths[0]
    assert dependent.change_plain.high < dependent.change.high


def test_the_disturbed_window_does_not_count_as_noise():
    still = np.zeros(60, dtype=int)
    burst = still.copy()
    burst[42:44] = RATE
    assert failure_effect(pair(cells(still), cells(burst)), WINDOW).noise.design_effect == 1.0


def test_quantiles_goodput_and_attempts_have_both_values():
    still = np.zeros(60, dtype=int)
    slow = np.full(60, 20.0)
    slow[WINDOW] = 60.0
    two = pair(cells(still), cells(still + 10, slow, attempts=2))
    p95 = quantile_effect(two, WINDOW, 0.95)
    assert (p95.baseline.value, p95.fault.value) == pytest.approx((20, 60), rel=0.006)
    assert p95.relative.value == pytest.approx(2.0, rel=0.02)
    goodput = goodput_effect(two, WINDOW, 10.0)
    assert (goodput.baseline.value, goodput.fault.value) == (50.0, 40.0)
    assert goodput.relative.high < 0
    assert attempts_effect(two, WINDOW).relative.low == pytest.approx(1.0)


def test_an_arm_without_arrivals_has_no_effect():
    empty = Cells(*(np.zeros(60, dtype=int) for _ in range(5)), np.zeros((60, 5), dtype=np.int32), 0)
    two = pair(cells(np.zeros(60, dtype=int)), empty)
    assert failure_effect(two, WINDOW) is None
    assert quantile_effect(two, WINDOW, 0.95) is None
    assert goodput_effect(two, WINDOW, 10.0) is None
    assert attempts_effect(two, WINDOW) is None
