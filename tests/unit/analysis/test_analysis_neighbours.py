"""Programs beside the run, in one arm only: the verdict has a remark on them."""

from dataclasses import replace

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import read


def neighbour(processors):
    """What the machine tells when other programs take so many processors, by arm; the baseline arm's are stolen."""
    return [
        (arm, t_s, "machine", f"{who}_seconds_total", processors[arm] * t_s)
        for arm, who in (("baseline-1", "stolen"), ("fault-1", "others"))
        for t_s in range(41)
    ]


@pytest.mark.parametrize("processors", [{"baseline-1": 0.0, "fault-1": 0.5}, {"baseline-1": 1.0, "fault-1": 0.5}])
def test_a_neighbour_of_one_arm_only_is_told(tmp_path, processors):
    build_record(tmp_path, telemetry=neighbour(processors))
    verdict = analyse(read(tmp_path))
    assert verdict.validity.valid
    [remark] = verdict.validity.reasons
    told = f"0.5 processors in fault-1 and {processors['baseline-1']} in baseline-1"
    assert f"did not start took {told} while the fault was on, and {told} after the fault: " in remark


def test_a_neighbour_of_both_arms_makes_no_difference(tmp_path):
    build_record(tmp_path, telemetry=neighbour({"baseline-1": 0.6, "fault-1": 0.5}))
    assert analyse(read(tmp_path)).validity.reasons == ()


def test_a_target_that_runs_already_is_no_neighbour(tmp_path):
    build_record(tmp_path, telemetry=neighbour({"baseline-1": 0.0, "fault-1": 0.5}))
    record = read(tmp_path)
    target = record.info.target.model_copy(update={"existing": {"web": "http://127.0.0.1:8000"}})
    info = record.info.model_copy(update={"target": target})
    assert analyse(replace(record, info=info)).validity.reasons == ()
