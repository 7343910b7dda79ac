"""Whatever ends a run, its fault is taken back at once; where that is not possible it is said, with exit code 70."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import fill, finish, harness, only_run, small_disk_at, wait_for_event, whole_lines

from harness.clock import NS, now_ns
from harness.probes import probe, wait_for

pytestmark = pytest.mark.usefixtures("nothing_is_left")
SLOW = "latency: {on: app->redis, latency: 3s, at: steady, for: 6s}"
DOWN = "redis-down: {at: steady, for: 6s}"


def _run(scenario: Path, results: Path, fault: str, **options: Any) -> subprocess.Popen[str]:
    """The fault arm alone, with the fault at its beginning."""
    changes = [f"faults=[{{{fault}}}]", "load.phases=[{warm-up: 500ms}, {steady: 8s}]"]
    words = [word for change in changes for word in ("--set", change)]
    return harness("run", scenario, "--only", "fault", *words, "--out", results, **options)


def _ledger(results: Path, entry: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in whole_lines(only_run(results) / "ledger.jsonl")]
    return [one for one in lines if one["entry"] == entry]


def _last(results: Path, kind: str) -> int:
    """When the last event of a kind happened, ns on the monotonic clock."""
    run = only_run(results)
    start_ns = json.loads((run / "run.json").read_text())["arms"][-1]["start_monotonic_ns"]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return int(start_ns + [one["t_ns"] for one in events if one["kind"] == kind][-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_the_fault_back_within_a_second(
    scenario: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Also while it is looked for: that look would take three seconds."""
    results = tmp_path / "results"
    process = _run(scenario, results, SLOW)
    wait_for_event(results, "fault.requested", "latency")
    process.send_signal(number)
    asked_ns = now_ns()
    code, _, err = finish(process, 60)
    assert code == 130, err
    assert "Traceback" not in err
    assert (_last(results, "fault.clear") - asked_ns) / NS <= 1.0
    assert not (only_run(results) / "ledger.jsonl").exists()


def test_a_server_that_does_not_come_back(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = _run(scenario, results, DOWN)
    wait_for_event(results, "fault.active", "redis-down")
    (work,) = _ledger(results, "folder")
    shutil.rmtree(Path(work["path"]) / "redis")
    code, out, err = finish(process, 60)
    assert code == 70, err
    assert "could not take back" in out
    assert "valkey-server --bind 127.0.0.1 --port" in out, "the manual command"
    assert "Traceback" not in err


def test_a_proxy_that_dies_with_a_fault_in_it(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = _run(scenario, results, SLOW)
    wait_for_event(results, "fault.active", "latency")
    (proxy,) = (one for one in _ledger(results, "process") if one["name"] == "toxiproxy")
    os.kill(proxy["pid"], signal.SIGKILL)
    code, out, err = finish(process, 60)
    assert code == 70, err
    assert "toxiproxy died while the run was on" in out
    assert "its effect is still there" in out
    assert "curl -X DELETE" in out
    assert "Traceback" not in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from small_disk_at(tmp_path / "disk")


def test_a_disk_that_is_full_keeps_no_fault(scenario: Path, small_disk: Path) -> None:
    results = small_disk / "results"
    process = _run(scenario, results, DOWN)
    wait_for_event(results, "fault.active", "redis-down")
    (undo,) = _ledger(results, "undo")
    address = undo["steps"][0]["address"]
    assert not probe("redis", address).ok
    fill(small_disk)
    assert wait_for(lambda: probe("redis", address).ok, timeout_s=20), "it answers before the stack is taken down"
    code, out, err = finish(process, 60)
    assert code == 5, err
    assert "No space left on device" in out, err
    assert "Traceback" not in err


PLUGIN = """
from harness.faults.catalogue import fault
from harness.faults.families.network import Latency

@fault("sticky", family="test", place="component", default_place="redis", capability="process")
class Sticky(Latency):
    '''Cannot be seen to be gone.'''
    clear_s = 0.5
    def __init__(self, planned, stack):
        self.planned, self.stack = planned, stack
        self.injected = False
    def undo(self):
        return [self.stack.start_undo("redis")]
    def inject(self):
        self.injected = True
    def is_active(self):
        return self.injected
    def is_clear(self):
        raise LookupError("nowhere to look")
"""


def test_what_could_not_be_taken_back_is_told_also_after_ctrl_c(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "sticky.py").write_text(PLUGIN)
    distribution = tmp_path / "sticky-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: sticky\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text("[harness.faults]\nsticky = sticky\n")
    results = tmp_path / "results"
    there = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = _run(scenario, results, "sticky: {at: steady, for: 5s}", env=there)
    wait_for_event(results, "fault.active", "sticky")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process, 60)
    assert code == 70, err
    assert "LookupError: nowhere to look" in out
    assert "by hand: " in out
    assert "Traceback" not in err


def test_a_guard_that_dies_is_replaced(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = _run(scenario, results, DOWN)
    wait_for_event(results, "fault.active", "redis-down")
    (first,) = _ledger(results, "guard")
    os.kill(first["pid"], signal.SIGKILL)
    assert wait_for(lambda: len(_ledger(results, "guard")) == 2, timeout_s=10)
    second = psutil.Process(_ledger(results, "guard")[-1]["pid"])
    process.kill()
    process.wait()
    second.wait(20)
    assert "fault fault-1:redis-down reverted" in (only_run(results) / "logs" / "guard.log").read_text()
