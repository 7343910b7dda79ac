"""The 2x2 of load and fault: what only both together do, from whole records and from numbers."""

import json
from types import SimpleNamespace

import pytest
from record_builder import build_record, seal

from harness.analysis.analyse import analyse
from harness.analysis.factorial import load_and_fault
from harness.analysis.verdict import Contrast, Interval
from harness.record.reader import read


def pair(metric, without, with_fault):
    row = Contrast(
        "checkout", metric, "fault", without, with_fault, None, Interval(None, None), "", None, None, None, 9, 9, True
    )
    return SimpleNamespace(table=(row,))


def test_errors_are_told_in_points():
    spikes = {1: pair("error-rate", 0.02, 0.60), 2: pair("error-rate", 0.02, 0.62)}
    calm = {1: pair("error-rate", 0.0, 0.05), 2: pair("error-rate", 0.0, 0.07)}
    (found,) = load_and_fault(spikes, calm)
    assert found.value == pytest.approx(100 * ((0.61 - 0.02) - (0.06 - 0.0)))
    assert (found.scale, found.freedom) == ("pp", 4)
    assert (found.neither, found.load_only, found.fault_only, found.both) == pytest.approx((0, 0.02, 0.06, 0.61))
    assert found.interval.low > 40
    assert found.p < 0.001


def test_response_times_that_multiply_have_no_interaction_of_logarithms():
    (found,) = load_and_fault({1: pair("p95", 20.0, 60.0)}, {1: pair("p95", 10.0, 30.0)})
    assert found.value == pytest.approx(0, abs=1e-12)
    assert (found.scale, found.p, found.interval) == ("log", None, Interval(None, None))


def test_only_repeats_with_all_four_cells_count():
    spikes = {1: pair("p95", 20.0, 60.0), 2: pair("p95", 20.0, 60.0)}
    assert load_and_fault(spikes, {2: pair("p95", 10.0, 30.0)})[0].freedom == 0
    assert load_and_fault(spikes, {3: pair("p95", 10.0, 30.0)}) == ()
    assert load_and_fault({1: pair("goodput", 20.0, 0.0)}, {1: pair("goodput", 20.0, 5.0)}) == ()


def test_arms_at_the_expected_load_are_compared_apart(tmp_path):
    folder = build_record(
        tmp_path / "run", rate=60, seconds=30, pairs=4, fault_error={"checkout": 0.3}, expect=["no cascade"]
    )
    document = json.loads((folder / "run.json").read_text())
    for arm in document["arms"]:
        if arm["pair"] > 2:
            arm["load"], arm["pair"] = "expected", arm["pair"] - 2
    (folder / "run.json").write_text(json.dumps(document))
    seal(folder)
    record = read(folder)
    assert record.arms_of("fault") == ("fault-1", "fault-2")
    verdict = analyse(record)
    assert verdict.repeats.used == 2
    assert verdict.validity.reasons == ()
    rows = {(one.endpoint, one.metric): one for one in verdict.load_and_fault}
    found = rows["checkout", "error-rate"]
    assert found.interval.low < 0 < found.interval.high
    assert found.both == pytest.approx(0.3, abs=0.1)
