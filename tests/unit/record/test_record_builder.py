"""The synthetic records that other tests stand on show what they are asked to show."""

import numpy as np
from record_builder import NS, build_record

from harness.record.reader import read
from harness.record.schema import ERRORS


def failed_share(samples, begin_s, end_s, endpoint=None):
    """Share of arrivals intended in [begin, end) whose last attempt failed."""
    last = np.zeros(len(samples), dtype=np.int64)
    np.maximum.at(last, samples.first_seq, samples.seq)
    chosen = (samples.attempt == 0) & (samples.intended_ns >= begin_s * NS) & (samples.intended_ns < end_s * NS)
    if endpoint:
        chosen &= samples.endpoint == samples.endpoint_names.index(endpoint)
    return float(np.mean(samples.error[last[chosen]] != 0))


def test_errors_come_in_the_window_of_their_endpoint_and_go(tmp_path):
    record = read(build_record(tmp_path / "run", seconds=30, rate=200, fault_error={"checkout": 0.5}))
    fault = record.arm("fault-1")
    assert failed_share(fault, 15, 25, "checkout") > 0.4
    assert failed_share(fault, 15, 25, "catalog") == 0
    assert failed_share(fault, 0, 15) == 0
    assert failed_share(fault, 25, 29) == 0
    assert failed_share(record.arm("baseline-1"), 0, 29) == 0


def test_without_recovery_errors_stay(tmp_path):
    record = read(build_record(tmp_path / "run", seconds=30, rate=200, fault_error=0.5, recover=False))
    assert failed_share(record.arm("fault-1"), 25, 29) > 0.4


def test_retries_help_and_multiply_attempts(tmp_path):
    record = read(build_record(tmp_path / "run", seconds=30, rate=200, fault_error=0.5, retries=3))
    fault = record.arm("fault-1")
    assert failed_share(fault, 15, 24) < 0.2
    assert len(fault) > 1.2 * np.count_nonzero(fault.attempt == 0)


def test_slow_answers_time_out_and_the_last_are_cut(tmp_path):
    record = read(build_record(tmp_path / "run", seconds=30, rate=100, fault_latency_ms=5000, recover=False))
    fault = record.arm("fault-1")
    assert {ERRORS[code] for code in np.unique(fault.error)} == {"", "timeout", "aborted"}
    assert fault.end_ns.max() == 30 * NS


def test_an_abort_cuts_the_arm_and_pairs_multiply_it(tmp_path):
    record = read(build_record(tmp_path / "run", seconds=30, rate=20, abort=True, pairs=2, valid=False))
    assert [event.t_ns for event in record.events if event.kind == "abort"] == [25 * NS, 25 * NS]
    assert record.arm("fault-2").end_ns.max() <= 25 * NS
    assert record.info.pairs() == (("baseline-1", "fault-1"), ("baseline-2", "fault-2"))
    assert record.info.validity.valid is False
