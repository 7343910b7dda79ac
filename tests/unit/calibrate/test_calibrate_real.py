"""Pairs without a fault: what raises an alarm, what is invalid, going on where it was; runs are made up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from record_builder import build_record, seal

from harness import experiment
from harness.calibrate import real
from harness.errors import HarnessError
from harness.exits import Exit
from harness.paths import RunFolder, find_scenario
from harness.run import Outcome

CALM = {"seconds": 30, "fault_window": (9.0, 15.0), "expect": ("error-rate increases by < 1pp", "no cascade")}


def pair_on_disk(folder: Path, **given) -> Path:
    """Two arms without a fault, as a real pair leaves them: whatever happens in the second has no event."""
    build_record(folder, **{**CALM, **given})
    document = json.loads((folder / "run.json").read_text())
    for arm in document["arms"]:
        arm["kind"] = "baseline"
    document["run_id"] = folder.name
    (folder / "run.json").write_text(json.dumps(document))
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(line for line in lines if '"fault.' not in line))
    seal(folder)
    return folder


@pytest.fixture
def make():
    """Plans of a scenario whose hash is that of the made-up records."""
    planned = experiment.plan(find_scenario("nothing-wrong"))
    return lambda: replace(planned, plan=replace(planned.plan, scenario_sha256="0" * 64))


@pytest.fixture
def runs(monkeypatch):
    """Takes the place of running: each call makes the next of these records, or ends with its exit code."""
    queue = []

    def conduct(plan, target, *, results, display):
        assert [arm.kind for arm in plan.arms] == ["baseline", "baseline"]
        folder = results / f"run-{len(list(results.glob('*'))):03d}"
        given = queue.pop(0)
        if isinstance(given, Exit):
            folder.mkdir(parents=True)
            return Outcome(RunFolder(folder), codes=[given], messages=["no such server"])
        pair_on_disk(folder, **given)
        return Outcome(RunFolder(folder))

    monkeypatch.setattr(real, "conduct", conduct)
    return queue


def study(make, folder: Path, wanted: int) -> real.RealStudy:
    found, ended = real.run_pairs(make, folder=folder, wanted=wanted, quiet=True)
    assert ended is None
    return found


def test_two_equal_arms_raise_no_alarm(make, runs, tmp_path):
    runs += [{"seed": 1}, {"seed": 2}]
    found = study(make, tmp_path, 2)
    assert (len(found.valid), found.alarms, found.exit_code) == (2, 0, Exit.PASS)
    assert found.limits == (0.0, pytest.approx(1 - 0.05**0.5))
    assert {pair.klass for pair in found.valid} == {"none"}
    assert "error-rate increases by < 1pp: 2 pass, 0 fail" in found.text()


def test_what_differs_in_the_second_arm_is_an_alarm_and_is_told(make, runs, tmp_path):
    runs += [{"fault_error": 0.3}, {}]
    found = study(make, tmp_path, 2)
    assert found.alarms == 1
    assert found.exit_code == Exit.PASS, "one alarm in two pairs does not show more than 5 %"
    alarms = "; ".join(found.pairs[0].alarms)
    assert "error-rate increases by < 1pp" in alarms
    assert "class contained" in alarms
    assert found.pairs[0].run_id in found.text()


def test_more_alarms_than_five_percent_can_explain_are_a_failure(make, runs, tmp_path):
    runs += [{"fault_error": 0.3}] * 2
    assert study(make, tmp_path, 2).exit_code == Exit.FAIL


def test_an_invalid_pair_is_no_alarm_and_is_replaced(make, runs, tmp_path):
    runs += [{"fault_error": 0.3, "valid": False}, {}]
    found = study(make, tmp_path, 1)
    assert (len(found.pairs), len(found.valid), found.alarms) == (2, 1, 0)
    assert found.pairs[0].reasons
    assert found.to_json()["invalid"] == 1


def test_invalid_pairs_do_not_go_on_for_ever(make, runs, tmp_path):
    runs += [{"valid": False}] * 3
    found = study(make, tmp_path, 1)
    assert (len(found.pairs), found.exit_code) == (3, Exit.INCONCLUSIVE)
    assert "1 valid pairs are missing" in found.text()


def test_it_goes_on_with_what_is_there(make, runs, tmp_path):
    runs += [{}, {"fault_error": 0.3}, Exit.INTERRUPTED]
    found, ended = real.run_pairs(make, folder=tmp_path, wanted=3, quiet=True)
    assert (ended, len(found.valid), found.exit_code) == (Exit.INTERRUPTED, 2, Exit.INCONCLUSIVE)
    runs += [{}]
    again = study(make, tmp_path, 3)
    assert again.pairs[:2] == found.pairs
    assert (len(again.valid), again.alarms) == (3, 1)


def test_pairs_of_another_scenario_are_refused(make, tmp_path):
    pair_on_disk(tmp_path / "one")
    planned = make()
    with pytest.raises(HarnessError, match="another scenario"):
        real.run_pairs(
            lambda: replace(planned, plan=replace(planned.plan, scenario_sha256="1" * 64)),
            folder=tmp_path,
            wanted=1,
            quiet=True,
        )


def test_a_scenario_without_a_fault_is_refused(make, tmp_path):
    planned = make()
    with pytest.raises(HarnessError, match="has no fault"):
        real.run_pairs(
            lambda: replace(planned, plan=replace(planned.plan, faults=())), folder=tmp_path, wanted=1, quiet=True
        )


def test_three_runs_that_can_not_be_carried_out_end_it(make, runs, tmp_path):
    runs += [Exit.USAGE] * 3
    with pytest.raises(HarnessError, match="no such server"):
        study(make, tmp_path, 1)
