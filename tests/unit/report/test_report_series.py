from __future__ import annotations

import math

import numpy as np
import pytest

from harness.clock import NS
from harness.record.samples import ArmSamples
from harness.record.schema import ERRORS
from harness.report import series


def samples(rows: list[tuple[int, int, float, float, str]]) -> ArmSamples:
    """Rows (first_seq, attempt, intended s, end s, error) of one endpoint."""
    first, attempt, intended, end, error = zip(*rows, strict=True)
    start = (np.array(intended) * NS).astype(np.int64)
    n = len(rows)
    return ArmSamples(
        name="fault-1",
        worker=np.zeros(n, dtype=np.int16),
        seq=np.arange(n),
        attempt=np.array(attempt, dtype=np.int16),
        first_seq=np.array(first),
        endpoint=np.zeros(n, dtype=np.int32),
        endpoint_names=("checkout",),
        intended_ns=start,
        start_ns=start,
        end_ns=(np.array(end) * NS).astype(np.int64),
        status=np.zeros(n, dtype=np.int16),
        error=np.array([ERRORS.index(e) for e in error], dtype=np.int32),
        error_names=ERRORS,
        bytes=np.zeros(n, dtype=np.int32),
    )


def test_last_attempt_decides_and_a_fast_failure_counts_as_the_timeout() -> None:
    arm = samples(
        [
            (0, 0, 0.1, 0.2, "http_5xx"),
            (0, 1, 0.2, 0.5, ""),
            (2, 0, 0.6, 0.61, "http_5xx"),
            (3, 0, 1.2, 1.3, ""),
            (4, 0, 1.4, 1.4, "dropped"),
        ]
    )
    line = series.timeline(series.arrivals(arm, timeout_ns=NS), duration_s=2, width_s=1)
    assert line.count.tolist() == [2, 2]
    assert line.error_rate.tolist() == [0.5, 0.5]
    assert line.attempts.tolist() == [3, 1]
    assert line.p50_ms == pytest.approx([400, 100])
    assert line.p95_ms == pytest.approx([1000, 1000])


def test_response_times_end_where_the_recording_cut_requests_off() -> None:
    rows = [(0, 0, 0.1, 0.2, ""), (1, 0, 1.0, 3.0, "aborted"), (2, 0, 1.1, 1.2, ""), (3, 0, 2.5, 3.0, "aborted")]
    line = series.timeline(series.arrivals(samples(rows), timeout_ns=NS), duration_s=3, width_s=1)
    assert line.count.tolist() == [1, 2, 0]
    assert line.p95_ms[0] == pytest.approx(100)
    assert math.isnan(line.p95_ms[1])
    assert math.isnan(line.error_rate[2])


def test_pooled_arms_are_per_arm() -> None:
    one = series.arrivals(samples([(0, 0, 0.1, 0.2, ""), (1, 0, 0.3, 0.4, "")]), timeout_ns=NS)
    line = series.timeline(series.pool([one, one]), duration_s=1, width_s=1, arms=2)
    assert line.goodput.tolist() == [2.0]


@pytest.mark.parametrize(("duration_s", "width_s"), [(75, 1), (900, 1), (901, 2), (86400, 120), (10**8, 111112)])
def test_bins_stay_few_however_long_the_run(duration_s: float, width_s: float) -> None:
    assert series.bin_width_s(duration_s) == width_s
    assert duration_s / width_s <= series.MAX_BINS


def test_percentiles_without_enough_beyond_are_left_out() -> None:
    rows = [(i, 0, i / 1000, i / 1000 + 0.001 * (i + 1), "") for i in range(100)]
    data = series.arrivals(samples(rows), timeout_ns=NS)
    p50, p90, p99 = series.percentiles(data, [0.5, 0.9, 0.99])
    assert p50 == pytest.approx(50)
    assert p90 == pytest.approx(90)
    assert p99 is None


def test_ecdf_is_a_distribution_of_few_points() -> None:
    rng = np.random.default_rng(1)
    took = rng.lognormal(-4, 1, 5000)
    rows = [(i, 0, i / 5000, i / 5000 + float(t), "") for i, t in enumerate(took)]
    at_ms, share = series.ecdf(series.arrivals(samples(rows), timeout_ns=100 * NS))
    assert len(at_ms) <= 240
    assert np.all(np.diff(at_ms) >= 0)
    assert np.all(np.diff(share) > 0)
    assert share[-1] == 1.0
    middle = np.interp(0.5, share, at_ms)
    assert middle == pytest.approx(np.median(took) * 1000, rel=0.05)


def test_gauges_are_averaged_per_bin_with_gaps() -> None:
    t, values = series.resample(np.array([0.1, 0.6, 2.5]), np.array([1.0, 3.0, 5.0]), duration_s=3, width_s=1)
    assert t.tolist() == [0.5, 1.5, 2.5]
    assert values[0] == 2.0
    assert math.isnan(values[1])
    assert values[2] == 5.0
