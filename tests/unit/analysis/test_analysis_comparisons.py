"""The forms of the grammar, each held against a record."""

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import read

CASES = [
    # text, record, outcome, difference
    ("p95 of checkout increases by < 50%", {"fault_latency_ms": {"checkout": 60}}, "fail", 200),
    ("p95 of checkout increases by < 400%", {"fault_latency_ms": {"checkout": 60}}, "pass", 200),
    ("p50 of checkout increases by < 10ms", {"fault_latency_ms": {"checkout": 60}}, "fail", 40),
    ("p95 of checkout increases by < 50%", {"fault_error": {"checkout": 0.3}}, "fail", None),
    ("p95 of successes of checkout increases by < 50%", {"fault_error": {"checkout": 0.3}}, "pass", 0),
    ("p95 of successes of checkout increases by < 50%", {"fault_error": {"checkout": 1.0}}, "inconclusive", None),
    ("p95 increases by < 50%", {}, "pass", 0),
    ("p99.9 of checkout increases by < 50%", {}, "inconclusive", None),
    ("p95 of checkout < 100ms", {}, "pass", 33),
    ("p95 of checkout < 20ms", {}, "fail", 33),
    ("error-rate of checkout < 2%", {"fault_error": {"checkout": 0.5}}, "fail", 50),
    ("error-rate of catalog < 2%", {"fault_error": {"checkout": 0.5}}, "pass", 0),
    ("goodput of checkout decreases by < 5%", {"fault_error": {"checkout": 0.5}}, "fail", -50),
    ("goodput decreases by < 5%", {}, "pass", 0),
    ("goodput decreases by < 5%", {"fault_latency_ms": 3000}, "fail", -100),
    ("failures < 1", {}, "pass", 0),
    ("failures of checkout < 10", {"fault_error": {"checkout": 1.0}}, "fail", 490),
    ("failures of catalog < 1", {"fault_error": {"checkout": 1.0}}, "pass", 0),
    ("failures of nothing < 1", {}, "inconclusive", None),
    ("error-rate of nothing < 2%", {}, "inconclusive", None),
    ("recovers within 10s", {}, "pass", 0),
    ("recovers within 5s", {"recover": False, "fault_error": 0.5, "seconds": 45}, "fail", None),
]


@pytest.mark.parametrize(("text", "given", "outcome", "difference"), CASES)
def test_every_form_decides_where_it_is_clear_cut(tmp_path, text, given, outcome, difference):
    record = {"seconds": 34, "rate": 140, "fault_window": (14.0, 21.0), "expect": [text], **given}
    comparison = analyse(read(build_record(tmp_path / "run", **record))).comparisons[0]
    assert comparison.outcome == outcome, comparison.why
    assert comparison.why.endswith(".")
    if difference is not None:
        assert comparison.difference == pytest.approx(difference, abs=max(8, abs(difference) * 0.2))


def test_the_goodput_margin_has_the_sign_of_the_difference(tmp_path):
    folder = build_record(tmp_path / "run", expect=["goodput decreases by < 5%"], fault_error=0.5)
    comparison = analyse(read(folder)).comparisons[0]
    assert comparison.interval.high < comparison.margin == -5.0


def test_a_value_within_the_margin_is_not_enough_when_its_interval_is_not(tmp_path):
    folder = build_record(tmp_path / "run", rate=20, expect=["error-rate increases by < 1pp"])
    comparison = analyse(read(folder)).comparisons[0]
    assert comparison.difference == 0.0
    assert comparison.outcome == "inconclusive"
