"""The classification on records that nobody would make on purpose: a class or `unknown`, never a check that broke."""

import json
import math
import warnings

import pytest
from record_builder import build_record, seal

from harness.analysis.analyse import analyse
from harness.analysis.verdict import write
from harness.record.reader import read

STACK = {
    "seconds": 40,
    "rate": 60,
    "fault_window": (15.0, 21.0),
    "dependencies": {"catalog": ["app"], "checkout": ["app", "redis"]},
}
GAUGES = ("workers_busy", "workers_limit", "queue_length", "pool_in_use", "pool_size", "pool_waiting", "requests_total")


def gauges(value, arms=("baseline-1", "fault-1"), seconds=range(0, 41)):
    return [(arm, float(t), "app-1", metric, value(t)) for arm in arms for t in seconds for metric in GAUGES]


def shed(folder):
    """The record as one whose last phases are those of `hysteresis`."""
    document = json.loads((folder / "run.json").read_text())
    document["scenario"]["hysteresis"] = {"shed": "6s", "return": "10s"}
    document["phases"][-1]["end_s"] = 24.0
    for name, start, end in (("shed", 24.0, 30.0), ("return", 30.0, 40.0)):
        document["phases"].append({"name": name, "start_s": start, "end_s": end, "rate": 0.0})
    (folder / "run.json").write_text(json.dumps(document))
    seal(folder)


RECORDS = {
    "all errors everywhere": ({"baseline_error": 1.0, "fault_error": 1.0, "retries": 3}, "none"),
    "no errors anywhere": ({}, "none"),
    "three requests": ({"rate": 0.1}, "unknown"),
    "one request a second": ({"rate": 1.0, "fault_error": 1.0}, "unknown"),
    "telemetry without numbers": (
        {"telemetry": gauges(lambda _: math.nan), "fault_error": {"checkout": 0.9}},
        "contained",
    ),
    "telemetry without end": ({"telemetry": gauges(lambda _: math.inf), "fault_error": {"checkout": 0.9}}, "contained"),
    "telemetry all zero": ({"telemetry": gauges(lambda _: 0.0), "fault_error": {"checkout": 0.9}}, "contained"),
    "negative telemetry": ({"telemetry": gauges(lambda t: -float(t)), "fault_error": {"checkout": 0.9}}, "contained"),
    "telemetry of one arm": (
        {"telemetry": gauges(float, ("baseline-1",)), "fault_error": {"checkout": 0.9}},
        "contained",
    ),
    "one reading": ({"telemetry": gauges(float, seconds=[17]), "fault_error": {"checkout": 0.9}}, "contained"),
    "a fault of a moment": ({"fault_window": (15.0, 15.001), "fault_error": 1.0}, "unknown"),
    "a fault to the end": ({"fault_window": (15.0, 40.0), "fault_error": {"checkout": 0.9}}, "contained"),
    "a fault from the start": ({"fault_window": (0.0, 20.0), "fault_error": {"checkout": 0.9}}, "contained"),
    "a timeout longer than the arm": ({"timeout_s": 60.0, "fault_error": {"checkout": 0.9}}, "contained"),
    "an endpoint nobody declared": ({"dependencies": {"checkout": ["redis"]}, "fault_error": 1.0}, "unknown"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_a_class(tmp_path, name):
    given, klass = RECORDS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdict = analyse(read(build_record(tmp_path / "run", **{**STACK, **given})))
    write(verdict, tmp_path / "verdict.json")
    assert "could not be computed" not in verdict.cascade.sentence
    assert verdict.cascade.klass == klass


@pytest.mark.parametrize("length", [None, 24.0, 27.0, 31.0])
def test_a_run_that_was_stopped_while_its_load_was_shed_was_not_tested(tmp_path, length):
    folder = build_record(tmp_path / "run", **STACK, fault_error={"checkout": 1.0}, recover=False)
    shed(folder)
    if length is not None:
        document = json.loads((folder / "run.json").read_text())
        for arm in document["arms"]:
            arm["duration_s"] = length
        (folder / "run.json").write_text(json.dumps(document))
    cascade = analyse(read(folder)).cascade
    assert "could not be computed" not in cascade.sentence
    c6 = next(one for one in cascade.evidence if one.criterion == "C6")
    assert c6.met is None
    assert ("not in the record" if length is None else "not tested") in c6.text
