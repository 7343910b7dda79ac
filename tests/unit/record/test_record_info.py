"""run.json: tolerant of more, strict about less."""

import json

import pytest

from harness.errors import RecordError
from harness.record.info import read_info

MINIMAL = {
    "schema_version": 1,
    "run_id": "r1",
    "scenario": {"name": "redis-outage", "hypothesis": "it holds", "variant": "hardened", "expect": ["no cascade"]},
    "arms": [
        {
            "name": "baseline-1",
            "kind": "baseline",
            "start_utc": "2026-01-01T00:00:00Z",
            "start_monotonic_ns": 1,
            "duration_s": 30,
            "rows": 3,
        }
    ],
    "phases": [{"name": "steady", "start_s": 0, "end_s": 30}],
    "target": {"dependencies": {"checkout": ["app", "redis"]}},
    "validity": {"valid": True, "reasons": []},
    "files": {},
}


def written(tmp_path, **changes):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**MINIMAL, **changes}), encoding="utf-8")
    return path


def test_reads_the_least_another_program_must_write(tmp_path):
    info = read_info(written(tmp_path))
    assert (info.name, info.hypothesis, info.variant) == ("redis-outage", "it holds", "hardened")
    assert info.expect == ("no cascade",)
    assert info.target.dependencies == {"checkout": ("app", "redis")}
    assert info.arms[0].pair is None
    assert info.faults == ()


def test_keeps_unknown_keys(tmp_path):
    info = read_info(written(tmp_path, weather="mild"))
    assert info.model_extra == {"weather": "mild"}


@pytest.mark.parametrize("field", ["schema_version", "run_id", "scenario", "arms", "phases", "target", "validity"])
def test_a_missing_field_is_named_with_its_file(tmp_path, field):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({key: value for key, value in MINIMAL.items() if key != field}), encoding="utf-8")
    with pytest.raises(RecordError, match=f"run.json: {field}: the field is missing"):
        read_info(path)


@pytest.mark.parametrize("field", ["name", "kind", "start_utc", "start_monotonic_ns", "duration_s", "rows"])
def test_a_missing_field_of_an_arm_is_named_with_its_place(tmp_path, field):
    arm = {key: value for key, value in MINIMAL["arms"][0].items() if key != field}
    with pytest.raises(RecordError, match=rf"arms\[0\]\.{field}: the field is missing"):
        read_info(written(tmp_path, arms=[arm]))


@pytest.mark.parametrize("version", [1, 1.4, "1", "1.7", "1.7.2"])
def test_minor_versions_are_read(tmp_path, version):
    assert read_info(written(tmp_path, schema_version=version)).run_id == "r1"


@pytest.mark.parametrize("version", [2, "2.0", 11])
def test_a_newer_major_version_says_to_upgrade(tmp_path, version):
    # Nothing else of a newer version can be relied on, so not even a missing field comes first.
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema_version": version}), encoding="utf-8")
    with pytest.raises(RecordError, match="upgrade the harness"):
        read_info(path)


@pytest.mark.parametrize("version", ["soon", None, [1]])
def test_a_version_that_is_none_is_refused(tmp_path, version):
    with pytest.raises(RecordError, match="schema_version"):
        read_info(written(tmp_path, schema_version=version))


def test_a_folder_without_run_json_is_not_a_record(tmp_path):
    with pytest.raises(RecordError, match="not a run record"):
        read_info(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"run"', "{'a': 1}"])
def test_text_that_is_not_a_json_object_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=r"run\.json"):
        read_info(tmp_path / "run.json")


def test_bytes_that_are_not_text_are_refused(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="cannot be read"):
        read_info(tmp_path / "run.json")


@pytest.mark.parametrize(
    "phase",
    [
        {"start_s": 5, "end_s": 30},
        {"start_s": 5, "duration_s": 25},
        {"start_ns": 5_000_000_000, "end_ns": 30_000_000_000},
        {"start": 5, "end": 30},
    ],
)
def test_phases_may_give_their_times_in_other_words(tmp_path, phase):
    info = read_info(written(tmp_path, phases=[{"name": "steady", **phase}]))
    assert (info.phases[0].start_s, info.phases[0].end_s) == (5.0, 30.0)


def test_a_phase_without_times_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"phases\[0\]\.start_s"):
        read_info(written(tmp_path, phases=[{"name": "steady"}]))


def arm(name, kind, pair=None):
    return {**MINIMAL["arms"][0], "name": name, "kind": kind, **({"pair": pair} if pair else {})}


def test_arms_pair_by_number(tmp_path):
    arms = [arm("b1", "baseline", 1), arm("f1", "fault", 1), arm("f2", "fault", 2), arm("b2", "baseline", 2)]
    assert read_info(written(tmp_path, arms=arms)).pairs() == (("b1", "f1"), ("b2", "f2"))


def test_arms_without_numbers_pair_by_order(tmp_path):
    arms = [arm("b1", "baseline"), arm("f1", "fault"), arm("f2", "fault"), arm("b2", "baseline"), arm("b3", "baseline")]
    assert read_info(written(tmp_path, arms=arms)).pairs() == (("b1", "f1"), ("b2", "f2"))


def test_an_arm_whose_partner_never_ran_has_no_pair(tmp_path):
    assert read_info(written(tmp_path, arms=[arm("b1", "baseline", 1), arm("b2", "baseline", 2)])).pairs() == ()
    assert read_info(written(tmp_path, arms=[arm("f1", "fault", 1), arm("b2", "baseline", 2)])).pairs() == ()


def test_two_arms_of_one_name_are_refused(tmp_path):
    with pytest.raises(RecordError, match="`b1` is given twice"):
        read_info(written(tmp_path, arms=[arm("b1", "baseline"), arm("b1", "fault")]))


def test_shared_resources_may_be_a_list(tmp_path):
    target = {"dependencies": {}, "shared_resources": ["app-threads"]}
    assert read_info(written(tmp_path, target=target)).target.shared_resources == {"app-threads": []}


def test_faults_of_another_form_are_left_to_their_program(tmp_path):
    faults = [{"redis-down": {"at": "5s"}}, {"id": "redis-down", "at_s": 5, "for_s": 2, "edge": None}]
    assert [fault.id for fault in read_info(written(tmp_path, faults=faults)).faults] == ["redis-down"]
    assert read_info(written(tmp_path, faults=None)).faults == ()


def test_an_arm_may_have_been_stopped_at_once(tmp_path):
    stopped = {**arm("b1", "baseline"), "duration_s": 0, "rows": 0}
    assert read_info(written(tmp_path, arms=[stopped])).arms[0].duration_s == 0
    with pytest.raises(RecordError, match=r"arms\[0\]\.duration_s"):
        read_info(written(tmp_path, arms=[{**stopped, "duration_s": -1}]))
