"""A record from what a run left that could not finish its own."""

import json
import os
import signal

import pyarrow.parquet as pq
import pytest

from harness.clock import NS
from harness.errors import RecordError
from harness.ledger import Ledger, mark_of
from harness.paths import RunFolder
from harness.record.reader import read
from harness.record.salvage import REASON, salvage
from harness.record.spool import RowWriter
from harness.record.writer import ArmStart, RecordWriter

INFO = {
    "run_id": "20260101-000000-test",
    "scenario": {"name": "test"},
    "scenario_sha256": "0" * 64,
    "phases": [{"name": "steady", "start_s": 0.0, "end_s": 10.0, "rate": 1.0}],
    "target": {"dependencies": {"a": ["app"]}},
    "seeds": {"seed": 4},
}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def spool(folder, arm, worker, ends_s):
    writer = RowWriter(folder.spool / f"{arm}-{worker}.rows")
    for local, end_s in enumerate(ends_s):
        writer.add(0, local, local, f"name {worker}", local, local, int(end_s * NS), 200, "", 1)
    writer.close()


def begin(writer, arm, at_ns, kind="baseline"):
    writer.begin(ArmStart(arm, kind, 1, "2026-01-01T00:00:00+00:00", at_ns, 10.0))


def killed(folder):
    """As it is on disk when the conductor is killed in the second arm."""
    writer = RecordWriter(folder, INFO)
    begin(writer, "baseline-1", 100)
    spool(folder, "baseline-1", 0, [1, 9.5])
    spool(folder, "baseline-1", 1, [2])
    writer.event("phase.end", arm="baseline-1", t_ns=10 * NS, phase="steady")
    writer.reading("baseline-1", NS, "app-1", "workers_busy", 3.0)
    writer.add_samples("baseline-1", [folder.spool / f"baseline-1-{n}.rows" for n in (0, 1)])
    begin(writer, "fault-1", 200, "fault")
    spool(folder, "fault-1", 0, [0.5, 4.25])
    with (folder.spool / "fault-1-0.rows").open("ab") as file:
        file.write(b"torn")
    spool(folder, "fault-1", 1, [])
    writer.event("fault.active", arm="fault-1", t_ns=3 * NS, fault="redis-down")
    with folder.events.open("ab") as file:
        file.write(b'{"t_ns": 4, "ar')
    return writer


def test_the_rows_so_far_become_a_record_that_says_what_it_is(folder):
    killed(folder)
    with pytest.raises(RecordError, match="harness salvage"):
        read(folder.root)
    assert salvage(folder) == {"baseline-1": 3, "fault-1": 2}
    record = read(folder.root)
    assert [(arm.name, arm.rows, arm.duration_s) for arm in record.info.arms] == [
        ("baseline-1", 3, 10.0),
        ("fault-1", 2, 4.25),
    ]
    assert not record.info.validity.valid
    assert record.info.validity.reasons == (REASON,)
    assert record.info.seeds == {"seed": 4}
    assert record.arm("baseline-1").worker.tolist() == [0, 1, 0]
    assert [event.kind for event in record.events] == ["phase.end", "fault.active"]
    assert not list(folder.root.glob("salvage*"))


def test_it_may_be_done_again_with_more(folder):
    killed(folder)
    salvage(folder)
    path = folder.spool / "fault-1-1.rows"
    path.unlink()
    path.with_name(path.name + ".names").unlink()
    spool(folder, "fault-1", 1, [5, 6])  # brought over from the load host
    assert salvage(folder) == {"baseline-1": 3, "fault-1": 4}
    assert read(folder.root).info.validity.reasons == (REASON,)


def test_a_worker_that_left_nothing_keeps_its_number(folder):
    killed(folder)
    for path in folder.spool.glob("baseline-1-0.rows*"):
        path.unlink()
    salvage(folder)
    assert read(folder.root).arm("baseline-1").worker.tolist() == [1]


def test_an_invalid_record_keeps_its_reasons_and_its_telemetry(folder):
    writer = killed(folder)
    writer.add_samples("fault-1", [folder.spool / "fault-1-0.rows"])
    arms = [
        ArmStart("baseline-1", "baseline", 1, "2026-01-01T00:00:00+00:00", 100, 10.0),
        ArmStart("fault-1", "fault", 1, "2026-01-01T00:00:00+00:00", 200, 10.0),
    ]
    writer.close(["load-worker-2 died (signal 9)"], arms)
    salvage(folder)
    assert read(folder.root).info.validity.reasons == ("load-worker-2 died (signal 9)", REASON)
    assert pq.read_table(folder.telemetry).num_rows == 1


def test_a_valid_record_is_left_alone(folder):
    writer = RecordWriter(folder, INFO)
    begin(writer, "baseline-1", 100)
    spool(folder, "baseline-1", 0, [1])
    writer.add_samples("baseline-1", [folder.spool / "baseline-1-0.rows"])
    writer.close([], [ArmStart("baseline-1", "baseline", 1, "2026-01-01T00:00:00+00:00", 100, 10.0)])
    before = folder.run_json.read_bytes()
    with pytest.raises(RecordError, match="finished and valid"):
        salvage(folder)
    assert folder.run_json.read_bytes() == before


def test_a_run_that_is_going_on_is_left_alone(folder):
    killed(folder)
    Ledger(folder.ledger).run("20260101-000000-test", mark_of(os.getpid(), "conductor", signal.SIGTERM))
    with pytest.raises(RecordError, match="still going on"):
        salvage(folder)


def test_without_a_spool_there_is_nothing(folder):
    RecordWriter(folder, INFO)
    with pytest.raises(RecordError, match="nothing to salvage"):
        salvage(folder)


def test_what_contradicts_itself_changes_nothing(folder):
    killed(folder)
    before = folder.run_json.read_bytes()
    (folder.spool / "fault-1.json").write_text(json.dumps({"name": "fault-1"}))
    with pytest.raises(RecordError, match="when an arm began"):
        salvage(folder)
    (folder.spool / "baseline-1-0.rows").write_bytes(b"something else, and longer than a header")
    assert folder.run_json.read_bytes() == before
