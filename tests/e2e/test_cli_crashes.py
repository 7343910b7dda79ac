"""What dies or fills up in the middle of a run: a clear end, and nothing that was written before is lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from runs import fill, finish, harness, only_run, small_disk_at, wait_for_event

from harness.clock import NS, now_ns
from harness.record.reader import read

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_killed_load_worker_makes_the_run_invalid_and_leaves_its_rows(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    # So many that the other worker has rows of after the kill: both are stopped within a tenth of a second.
    process = harness("run", scenario, "--out", results, "--workers", "2", "--set", "load.rate=200/s")
    wait_for_event(results, "phase.start", "spike")
    workers = [p for p in psutil.Process(process.pid).children() if "harness.load.worker" in p.cmdline()]
    (victim,) = [p for p in workers if p.cmdline()[-1].endswith("-1.rows.spec.json")]
    start = json.loads((only_run(results) / "spool" / "baseline-1.json").read_text())
    victim.kill()
    killed_s = (now_ns() - start["start_monotonic_ns"]) / NS
    code, out, err = finish(process)
    assert code == 5, err
    assert "load-worker-2 died (signal 9)" in out
    record = read(only_run(results))
    assert "load-worker-2 died (signal 9)" in record.info.validity.reasons
    arm = record.arm("baseline-1")
    reached_s = {worker: arm.end_ns[arm.worker == worker].max() / NS for worker in (0, 1)}
    assert reached_s[0] > killed_s
    assert killed_s - 1 < reached_s[1] <= killed_s
    assert (only_run(results) / "spool").is_dir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk_at(tmp_path / "disk")


def test_a_disk_that_fills_up_ends_the_run_and_the_rows_can_be_salvaged(scenario: Path, small_disk: Path) -> None:
    results = small_disk / "results"
    process = harness("run", scenario, "--out", results)
    wait_for_event(results, "phase.start", "spike")
    ballast = fill(small_disk)
    filled = time.monotonic()
    code, out, err = finish(process)
    assert code == 5, err
    assert time.monotonic() - filled < 20
    assert "No space left on device" in out + err
    assert "free some space" in out + err
    assert "Traceback" not in err
    ballast.unlink()
    code, out, err = finish(harness("salvage", only_run(results)))
    assert code == 0, err
    record = read(only_run(results))
    assert not record.info.validity.valid
    assert record.arm("baseline-1").end_ns.max() > 2.5 * NS
