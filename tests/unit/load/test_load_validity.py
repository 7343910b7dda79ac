from dataclasses import replace
from pathlib import Path

from harness.load.spec import Progress
from harness.load.validity import WorkerResult, validity_reasons

CALM = Progress(0, 1000, 1000, 0, 0, 10.0, 20.0, 1.0, 50, 0, 0)


def health(**series: list) -> tuple[Progress, ...]:
    length = len(next(iter(series.values())))
    return tuple(
        replace(CALM, t_ns=(i + 1) * 500_000_000, **{name: values[i] for name, values in series.items()})
        for i in range(length)
    )


def result(**changes) -> WorkerResult:
    calm = WorkerResult("load-worker-1", Path("w.rows"), 100, 90, 100, 0, health(cpu_percent=[20.0] * 20))
    return replace(calm, **changes)


def test_a_calm_worker_is_valid():
    assert validity_reasons([result()], "baseline") == []


def test_a_lost_worker_is_named_with_its_last_words():
    lost = result(rows=None, exit_code=-9, last_words="no more memory")
    assert validity_reasons([result(), lost], "fault") == ["load-worker-1 was lost (exit code -9): no more memory"]


def test_missing_rows_are_noticed():
    [reason] = validity_reasons([result(spool_rows=99)], "baseline")
    assert "recorded 100 rows, but 99 are in" in reason


def test_three_seconds_above_the_cpu_limit_are_too_long():
    burst = [20.0] * 4 + [90.0] * 6 + [20.0] * 4
    [reason] = validity_reasons([result(health=health(cpu_percent=burst))], "baseline")
    assert "for 3.0 s from 2.0 s on (up to 90 %)" in reason
    assert "--workers" in reason


def test_shorter_bursts_are_not():
    bursts = ([20.0] * 2 + [99.0] * 5) * 4
    assert validity_reasons([result(health=health(cpu_percent=bursts))], "baseline") == []


def test_three_seconds_of_lag_are_too_long():
    lags = [1.0] * 4 + [11.0] * 8 + [25.0] * 8 + [1.0] * 4
    [reason] = validity_reasons([result(health=health(lag_p99_ms=lags))], "fault")
    assert "p99 over 10 ms for 3.0 s before 10.0 s (up to 25 ms)" in reason


def test_one_hiccup_of_the_machine_is_not():
    hiccup = [1.0] * 4 + [130.0] * 11 + [1.0] * 4  # one late moment stays in sight for the 5 s that a reading covers
    assert validity_reasons([result(health=health(lag_p99_ms=hiccup, late=[10] * 19))], "fault") == []


def test_many_hiccups_are():
    [reason] = validity_reasons([result(health=health(late=[0, 5, 11]))], "baseline")
    assert "started 11 of 1000 arrivals more than 10 ms late" in reason
    assert validity_reasons([result(health=health(late=[1], arrivals=[28]))], "baseline") == []


def test_dropped_arrivals_count_in_a_baseline_arm_only():
    dropping = result(health=health(dropped=[0, 3, 7]))
    [reason] = validity_reasons([dropping], "baseline")
    assert "dropped 7 arrivals" in reason
    assert validity_reasons([dropping], "fault") == []
