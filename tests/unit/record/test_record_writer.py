"""Writing a record: at once, in order, whole or not at all."""

import json
import resource
import subprocess
import sys
import threading

import pyarrow.parquet as pq
import pytest

from harness.errors import DiskError, HarnessError, LoadError, RecordError
from harness.exits import Exit
from harness.paths import RunFolder
from harness.record.reader import read
from harness.record.schema import SAMPLES, TELEMETRY
from harness.record.spool import RowWriter
from harness.record.writer import ArmStart, RecordWriter

INFO = {
    "run_id": "20260101-000000-test",
    "scenario": {"name": "test"},
    "scenario_sha256": "0" * 64,
    "phases": [{"name": "steady", "start_s": 0.0, "end_s": 10.0, "rate": 1.0}],
    "target": {"dependencies": {"a": ["app"]}},
}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "results" / "run")


def spool(path, rows):
    """Rows are (attempt, first_local, endpoint, intended, start, end, status, error)."""
    writer = RowWriter(path)
    for local, (attempt, first_local, endpoint, intended, start, end, status, error) in enumerate(rows):
        writer.add(attempt, first_local, local, endpoint, intended, start, end, status, error, 10)
    writer.close()
    return path


def started(name, kind="baseline", pair=1):
    return ArmStart(name, kind, pair, "2026-01-01T00:00:00+00:00", 123, 10.0)


def run_json(folder):
    return json.loads(folder.run_json.read_text(encoding="utf-8"))


def test_workers_are_merged_by_intended_time_and_retries_find_their_arrival(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    one = spool(
        tmp_path / "w0",
        [
            (0, 0, "b", 100, 110, 150, 500, "http_5xx"),
            (0, 1, "a", 300, 300, 310, 200, ""),
            (1, 0, "b", 400, 400, 410, 200, ""),
        ],
    )
    two = spool(
        tmp_path / "w1",
        [
            (0, 0, "a", 100, 100, 120, 0, "timeout"),
            (0, 1, "c", 50, 60, 900, 200, ""),
            (1, 0, "a", 250, 250, 260, 200, ""),
        ],
    )
    assert writer.add_samples("baseline-1", [one, two]) == 6
    writer.close([], [started("baseline-1")])

    arm = read(folder.root).arm("baseline-1")
    assert arm.seq.tolist() == [0, 1, 2, 3, 4, 5]
    assert arm.intended_ns.tolist() == [50, 100, 100, 250, 300, 400]
    assert arm.worker.tolist() == [1, 0, 1, 1, 0, 0]
    assert arm.attempt.tolist() == [0, 0, 0, 1, 0, 1]
    assert arm.first_seq.tolist() == [0, 1, 2, 2, 4, 1]
    assert [arm.endpoint_names[code] for code in arm.endpoint] == ["c", "b", "a", "a", "a", "b"]
    assert [arm.error_names[code] for code in arm.error] == ["", "http_5xx", "timeout", "", "", ""]
    assert arm.start_ns.tolist() == [60, 110, 100, 250, 300, 400]
    assert arm.end_ns.tolist() == [900, 150, 120, 260, 310, 410]
    assert arm.status.tolist() == [200, 500, 0, 200, 200, 200]
    assert arm.bytes.tolist() == [10] * 6


def test_the_files_have_the_documented_types_and_digests(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    writer.reading("baseline-1", 5, "app-1", "pool_size", 5)
    writer.add_samples("baseline-1", [spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, "")])])
    writer.close([], [started("baseline-1")])
    assert pq.read_schema(folder.samples).equals(SAMPLES)
    assert pq.read_schema(folder.telemetry).equals(TELEMETRY)
    assert pq.read_metadata(folder.samples).row_group(0).column(0).compression == "ZSTD"
    document = run_json(folder)
    assert document["schema_version"] == 1
    assert document["scenario"] == {"name": "test"}
    assert document["validity"] == {"valid": True, "reasons": []}
    assert {name: entry["rows"] for name, entry in document["files"].items()} == {
        "samples.parquet": 1,
        "telemetry.parquet": 1,
        "events.jsonl": 0,
    }
    assert document["arms"] == [
        {
            "name": "baseline-1",
            "kind": "baseline",
            "pair": 1,
            "start_utc": "2026-01-01T00:00:00+00:00",
            "start_monotonic_ns": 123,
            "duration_s": 10.0,
            "invalid": [],
            "load": "planned",
            "rows": 1,
        }
    ]


def test_equal_input_gives_equal_bytes(tmp_path):
    def record(name):
        folder = RunFolder(tmp_path / name)
        writer = RecordWriter(folder, INFO)
        rows = [(0, i, f"e{i % 3}", i * 10, i * 10, i * 10 + 7, 200, "") for i in range(50)]
        for t_ns in (3, 1, 2):
            writer.reading("baseline-1", t_ns, "app-1", "pool_size", 1.0)
        writer.add_samples("baseline-1", [spool(tmp_path / f"{name}-spool", rows)])
        writer.close([], [started("baseline-1")])
        return folder

    one, two = record("one"), record("two")
    for path in ("samples", "telemetry", "run_json"):
        assert getattr(one, path).read_bytes() == getattr(two, path).read_bytes()


def test_events_are_on_disk_at_once(folder):
    writer = RecordWriter(folder, INFO)
    writer.event("fault.active", arm="fault-1", t_ns=7, fault="redis-down", edge="app->redis")
    assert json.loads(folder.events.read_text(encoding="utf-8")) == {
        "t_ns": 7,
        "arm": "fault-1",
        "kind": "fault.active",
        "fault": "redis-down",
        "edge": "app->redis",
    }


def test_an_unknown_kind_of_event_is_refused(folder):
    with pytest.raises(ValueError, match=r"fault\.active"):
        RecordWriter(folder, INFO).event("fault.activ", arm="", t_ns=1)


def test_events_of_many_threads_stay_whole_lines(folder):
    writer = RecordWriter(folder, INFO)

    def write(number):
        for t_ns in range(200):
            writer.event("probe", arm="fault-1", t_ns=t_ns, thread=number, text="x" * 500)
            writer.reading("fault-1", t_ns, f"app-{number}", "pool_size", t_ns)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close([], [started("fault-1", "fault")])
    record = read(folder.root)
    seen = sorted((event.fields["thread"], event.t_ns) for event in record.events)
    assert seen == [(number, t_ns) for number in range(4) for t_ns in range(200)]
    assert all(record.telemetry.series("fault-1", f"app-{n}", "pool_size")[0].size == 200 for n in range(4))


def test_telemetry_of_every_arm_is_kept_also_after_its_samples(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    writer.reading("baseline-1", 2, "redis", "requests_total", 9.0)
    writer.add_samples("baseline-1", [spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, "")])])
    writer.reading("baseline-1", 4, "redis", "requests_total", 10.0)
    writer.reading("fault-1", 1, "redis", "requests_total", float("nan"))
    writer.close([], [started("baseline-1"), started("fault-1", "fault")])
    telemetry = read(folder.root).telemetry
    assert telemetry.series("baseline-1", "redis", "requests_total")[1].tolist() == [9.0, 10.0]
    assert telemetry.series("fault-1", "redis", "requests_total")[0].tolist() == [1]


def test_until_it_is_closed_the_record_is_incomplete(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    writer.add_samples("baseline-1", [spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, "")])])
    assert run_json(folder)["files"] == {}
    assert run_json(folder)["validity"]["valid"] is False
    for integrity in (True, False):
        with pytest.raises(RecordError, match="incomplete"):
            read(folder.root, integrity=integrity)


def test_closing_after_an_interrupt_keeps_the_arms_that_exist(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    writer.add_samples("baseline-1", [spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, "")])])
    writer.close(["interrupted"], [started("baseline-1"), started("fault-1", "fault")])
    record = read(folder.root)
    assert len(record.arm("baseline-1")) == 1
    assert len(record.arm("fault-1")) == 0
    assert record.info.validity.reasons == ("interrupted",)
    assert record.info.validity.valid is False


def test_closing_before_any_arm_leaves_an_incomplete_record(folder):
    RecordWriter(folder, INFO).close(["interrupted"], [])
    with pytest.raises(RecordError, match="incomplete"):
        read(folder.root)


def test_a_second_close_changes_nothing(folder):
    writer = RecordWriter(folder, INFO)
    writer.close([], [started("baseline-1")])
    before = folder.run_json.read_bytes()
    writer.close(["late"], [])
    assert folder.run_json.read_bytes() == before


def test_no_temporary_file_is_left(folder):
    RecordWriter(folder, INFO).close([], [started("baseline-1")])
    assert sorted(path.name for path in folder.root.iterdir()) == [
        "events.jsonl",
        "run.json",
        "samples.parquet",
        "telemetry.parquet",
    ]


def test_samples_of_an_arm_that_was_not_begun_are_refused(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    writer.add_samples("baseline-1", [spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, "")])])
    with pytest.raises(ValueError, match="baseline-1"):
        writer.close([], [])
    with pytest.raises(ValueError, match="added before"):
        writer.add_samples("baseline-1", [])


def test_missing_information_is_named_before_the_run(folder):
    with pytest.raises(RecordError, match="target: the field is missing"):
        RecordWriter(folder, {key: value for key, value in INFO.items() if key != "target"})
    assert not folder.root.exists()


def test_a_record_is_never_overwritten(folder):
    RecordWriter(folder, INFO).close([], [started("baseline-1")])
    before = folder.run_json.read_bytes()
    with pytest.raises(HarnessError, match="holds a run record already"):
        RecordWriter(folder, INFO)
    assert folder.run_json.read_bytes() == before


def test_a_folder_that_cannot_be_made_has_a_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HarnessError, match="--out"):
        RecordWriter(RunFolder(tmp_path / "file" / "run"), INFO)


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from harness.errors import HarnessError
from harness.paths import RunFolder
from harness.record.writer import ArmStart, RecordWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RecordWriter(RunFolder(Path(sys.argv[1])), {info!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    {action}
except HarnessError as error:
    sys.exit("HarnessError: " + str(error))
"""


@pytest.mark.parametrize(
    "action",
    [
        "[writer.event('note', t_ns=1, text='x' * 500) for _ in range(100)]",
        "[writer.reading('b', t, f'c{t * t}', 'm', t ** 0.5) for t in range(9000)]; "
        "writer.close([], [ArmStart('b', 'baseline', 1, '', 0, 1.0)])",
    ],
    ids=["events", "telemetry"],
)
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
def test_a_full_disk_says_so_with_a_remedy(tmp_path, action):
    # A limit on the size of files stands for the full disk: both end in an OSError of a write.
    code = DISK_FULL.format(info=INFO, action=action)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "HarnessError" in ended.stderr
    assert "cannot be written" in ended.stderr
    assert "free some space" in ended.stderr


def test_a_file_that_a_failed_write_has_closed_is_no_mistake_of_ours(folder):
    writer = RecordWriter(folder, INFO)
    writer.reading("baseline-1", 1, "app-1", "busy", 1.0)
    writer._telemetry.writer.close()
    writer._telemetry.file_handle.close()  # as pyarrow does when the disk is full
    with pytest.raises(DiskError, match="an earlier write"):
        writer.close([], [ArmStart("baseline-1", "baseline", 1, "", 0, 1.0)])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(0, 0, "a", 5, 6, 4, 200, "")], "column end_ns, row 0"),
        ([(0, 0, "a", -5, 6, 7, 200, "")], "column intended_ns, row 0"),
        ([(1, 0, "a", 5, 6, 7, 200, "")], "column first_seq, row 0"),
        ([(0, 9, "a", 5, 6, 7, 200, "")], "refers to an arrival that is not there"),
        ([(0, 0, "a", 50, 60, 70, 200, ""), (1, 0, "a", 5, 6, 7, 200, "")], "column first_seq, row 0"),
    ],
)
def test_impossible_rows_are_the_load_engines_fault(folder, tmp_path, rows, reason):
    writer = RecordWriter(folder, INFO)
    with pytest.raises(LoadError, match=reason) as caught:
        writer.add_samples("fault-1", [spool(tmp_path / "w", rows)])
    assert caught.value.exit_code is Exit.INVALID
    # Nothing of it is in the record, which can still be closed and read.
    writer.close(["the load engine failed"], [started("fault-1", "fault")])
    assert len(read(folder.root).arm("fault-1")) == 0


def test_local_rows_with_a_gap_are_the_load_engines_fault(folder, tmp_path):
    rows = RowWriter(tmp_path / "w")
    rows.add(0, 1, 1, "a", 1, 2, 3, 200, "", 0)
    rows.close()
    with pytest.raises(LoadError, match="without gaps"):
        RecordWriter(folder, INFO).add_samples("baseline-1", [tmp_path / "w"])


def test_a_torn_last_row_is_left_out(folder, tmp_path):
    path = spool(tmp_path / "w", [(0, 0, "a", 1, 2, 3, 200, ""), (0, 1, "a", 2, 3, 4, 200, "")])
    path.write_bytes(path.read_bytes()[:-5])
    writer = RecordWriter(folder, INFO)
    assert writer.add_samples("baseline-1", [path]) == 1


def test_workers_without_rows_or_no_workers_make_an_empty_arm(folder, tmp_path):
    writer = RecordWriter(folder, INFO)
    assert writer.add_samples("baseline-1", [spool(tmp_path / "w0", []), spool(tmp_path / "w1", [])]) == 0
    assert writer.add_samples("fault-1", []) == 0
    writer.close([], [started("baseline-1"), started("fault-1", "fault")])
    assert len(read(folder.root).arm("baseline-1")) == 0


def test_a_missing_spool_is_named(folder, tmp_path):
    with pytest.raises(RecordError, match="nowhere"):
        RecordWriter(folder, INFO).add_samples("baseline-1", [tmp_path / "nowhere"])
