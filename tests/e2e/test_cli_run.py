"""The command line on a real, short scenario: whole runs, interrupted runs, killed runs, two at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import finish, harness, only_run, ours, wait_for_event, whole_lines

from harness.clock import NS
from harness.load.watch import WINDOW_S
from harness.record.reader import read

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_whole_run_and_its_record_elsewhere(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    code, out, err = finish(harness("run", scenario, "--out", results, "--seed", "7", "--json"))
    assert code in (0, 4, 5), err  # so short a run may be undecided, or invalid on a machine that hiccups
    told = json.loads(out)
    assert told["exit_code"] == code
    run = only_run(results)
    assert told["folder"] == str(run)
    for name in ("run.json", "samples.parquet", "telemetry.parquet", "events.jsonl", "verdict.json", "report.html"):
        assert (run / name).stat().st_size > 0
    for name in ("junit.xml", "summary.md"):
        assert (run / name).exists()
    assert not (run / "ledger.jsonl").exists()
    assert not (run / "spool").exists()
    info = json.loads((run / "run.json").read_text())
    assert [arm["name"] for arm in info["arms"]] == ["baseline-1", "fault-1"]
    assert info["seeds"]["seed"] == 7
    kinds = [json.loads(line)["kind"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert [kind for kind in kinds if kind.startswith("fault.")] == [
        "fault.requested",
        "fault.active",
        "fault.clear-requested",
        "fault.clear",
    ]
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(run, copy)
    first = (copy / "verdict.json").read_bytes()
    (copy / "verdict.json").unlink()
    again, _, _ = finish(harness("analyse", copy))
    assert again == code
    assert (copy / "verdict.json").read_bytes() == first


def test_both_arms_get_the_same_load(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    finish(harness("run", scenario, "--seed", "11", "--quiet", cwd=tmp_path))  # results/ is the default
    record = read(only_run(results))
    arrivals = []
    for name in ("baseline-1", "fault-1"):
        arm = record.arm(name)
        first = arm.attempt == 0
        arrivals.append(list(zip(arm.intended_ns[first], arm.endpoint[first], strict=True)))
    assert arrivals[0] == arrivals[1]
    assert len(arrivals[0]) > 300
    components = {component for _, component, _ in record.telemetry.available()}
    assert {"app-1", "app-2", "postgres", "redis", "proxy:redis", "load-worker-1"} <= components


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.7, 1.2, 2.0, 3.0, 5.5, 8.0, 14.0, 20.0])
def test_ctrl_c_at_any_moment(scenario: Path, tmp_path: Path, after_s: float) -> None:
    process = harness("run", scenario, "--out", tmp_path / "results")
    while not _listens(process):  # before that it is Python's start, not ours
        time.sleep(0.001)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    code, _, err = finish(process, 30)
    if after_s < 18:
        assert code == 130, err
        assert time.monotonic() - interrupted < 15
    assert "Traceback" not in err
    assert ours() == []
    assert list((tmp_path).glob("results/*/ledger.jsonl")) == []


def test_an_interrupt_while_the_run_is_entered_in_its_ledger(scenario: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from harness import __main__, ledger\n"
        "enter = ledger.Ledger.run\n"
        "ledger.Ledger.run = lambda *its: (enter(*its), os.kill(os.getpid(), signal.SIGINT))\n"
        "__main__.main()\n"
    )
    asked = ("run", str(scenario), "--out", str(tmp_path / "results"))
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("results/*/ledger.jsonl")) == []


def _listens(process: subprocess.Popen[str]) -> bool:
    """Whether it has installed its signal handlers; SIGTERM is caught by nobody else."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << (signal.SIGTERM - 1))


def test_sigterm_keeps_the_rows_so_far(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = harness("run", scenario, "--out", results)
    wait_for_event(results, "phase.start", "spike")
    process.terminate()
    code, _, err = finish(process, 30)
    assert code == 130, err
    run = only_run(results)
    info = json.loads((run / "run.json").read_text())
    assert info["arms"][0]["rows"] > 0
    assert info["validity"] == {"valid": False, "reasons": ["the run was interrupted"]}
    assert json.loads((run / "verdict.json").read_text())["outcome"] == "invalid"


def test_a_killed_conductor_leaves_nothing(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = harness("run", scenario, "--out", results)
    wait_for_event(results, "fault.active", "redis-down")
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while ours() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ours() == []
    log = only_run(results) / "logs" / "guard.log"
    while "reverted" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "fault fault-1:redis-down reverted" in log.read_text()
    assert list((only_run(results) / "spool").glob("fault-1-*.rows")), "the rows so far are kept"
    code, _, err = finish(harness("analyse", only_run(results)))
    assert code == 2
    assert "harness salvage" in err
    code, out, err = finish(harness("salvage", only_run(results)))
    assert code == 0, err
    assert "rows of fault-1" in out
    assert finish(harness("analyse", only_run(results)))[0] == 5
    info = json.loads((only_run(results) / "run.json").read_text())
    assert [arm["name"] for arm in info["arms"]] == ["baseline-1", "fault-1"]
    assert 3.5 < info["arms"][1]["duration_s"] < 10
    assert info["arms"][1]["rows"] > 50


def test_rollback_after_conductor_and_guard_were_killed(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = harness("run", scenario, "--out", results)
    wait_for_event(results, "fault.active", "redis-down")
    entries = [json.loads(line) for line in whole_lines(only_run(results) / "ledger.jsonl")]
    process.send_signal(signal.SIGSTOP)  # it would start another guard
    os.kill(next(entry["pid"] for entry in entries if entry["entry"] == "guard"), signal.SIGKILL)
    process.kill()
    process.wait()
    assert ours() != []
    code, out, err = finish(harness("rollback", "--out", results))
    assert code == 0, err
    assert "fault fault-1:redis-down reverted" in out
    assert ours() == []
    assert "nothing to take back" in finish(harness("rollback", "--out", results))[1]


def test_two_at_once(scenario: Path, tmp_path: Path) -> None:
    processes = [harness("run", scenario, "--out", tmp_path / "results", "--quiet") for _ in range(2)]
    for process in processes:
        code, out, err = finish(process)
        assert code in (0, 1, 4, 5), err  # they slow each other down; both must end properly
        assert "report" in out
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_an_abort_condition_stops_the_run(scenario: Path, tmp_path: Path) -> None:
    condition = "error-rate of session > 20% for 500ms"
    scenario.write_text(scenario.read_text().replace("hardened", "fragile") + f"abort-when: [{condition}]\n")
    results = tmp_path / "results"
    code, out, err = finish(harness("run", scenario, "--out", results))
    assert code in (5, 6), err
    run = only_run(results)
    assert json.loads((run / "run.json").read_text())["arms"][1]["rows"] > 0
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert events[-1]["kind"] == "fault.clear"
    stop = json.loads((run / "verdict.json").read_text())["stop"]
    assert stop["reason"].startswith(condition)
    assert stop["back_after_s"] <= 1.0
    assert events[-1]["t_ns"] / NS - _breach_s(run, "session", share=0.2, for_s=0.5) <= WINDOW_S + 1.0
    for told in (out, (run / "report.html").read_text()):
        words = " ".join(told.split())
        assert "An abort condition" in words
        assert "every fault was gone" in words


def _breach_s(run: Path, endpoint: str, *, share: float, for_s: float) -> float:
    """From when on, by the rows of the fault arm, the error rate of a second had been too high for so long."""
    arm = read(run).arm("fault-1")
    names = list(arm.endpoint_names)
    chosen = arm.endpoint == names.index(endpoint)
    ends_s, failed = arm.end_ns[chosen] / NS, arm.error[chosen] != list(arm.error_names).index("")
    since = None
    # It may have been that bad to the end, with no request in the last second.
    for t_s in np.arange(0.0, float(ends_s.max()) + WINDOW_S + for_s, 0.01):
        window = (ends_s > t_s - WINDOW_S) & (ends_s <= t_s)
        if not window.any() or failed[window].mean() <= share:
            since = None
        elif since is None:
            since = t_s
        elif t_s - since >= for_s:
            return float(t_s)
    raise AssertionError("the rows never were that bad")


def test_pairs_without_a_fault_are_counted_and_go_on(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    asked = ("calibrate", scenario, "--real", results, "--pairs", "1", "--json")
    code, out, err = finish(harness(*asked), 240)  # two invalid pairs may come before the valid one
    told = json.loads(out)
    assert code == told["exit_code"], err
    assert told["valid"] + told["invalid"] == len(list(results.iterdir())) >= 1
    assert not any('"fault.active"' in path.read_text() for path in results.glob("*/events.jsonl"))
    if told["valid"] == 1:  # a machine that hiccups may leave none
        assert finish(harness(*asked))[:2] == (code, out), "nothing is run again"


def test_the_closed_model_with_a_stock_locustfile(scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(
        "from locust import HttpUser, SequentialTaskSet, constant, task\n"
        "class Look(SequentialTaskSet):\n"
        "    @task\n"
        "    def catalog(self):\n"
        "        self.client.get('/catalog', name='catalog')\n"
        "    @task\n"
        "    def ping(self):\n"
        "        self.client.get('/ping', name='ping')\n"
        "class Visitor(HttpUser):\n"
        "    wait_time = constant(0.1)\n"
        "    tasks = [Look]\n"
    )
    text = scenario.read_text().replace("arrivals: poisson\n  rate: 40/s", "model: closed\n  concurrency: 6")
    text = text.replace("rate: +30%", "concurrency: 12").replace("users: ", "users: stock.py #")
    scenario.write_text(text)
    results = tmp_path / "results"
    code, _, err = finish(harness("run", scenario, "--out", results, "--only", "baseline", "--json"))
    assert code in (0, 4, 5), err
    samples = pq.read_table(only_run(results) / "samples.parquet")
    start_s = samples["start_ns"].to_numpy() / 1e9
    assert (samples["intended_ns"].to_numpy() == samples["start_ns"].to_numpy()).all()
    assert set(samples["endpoint"].to_pylist()) == {"catalog", "ping"}
    each = np.histogram(start_s, bins=np.arange(0, 11))[0]
    # Twice as many users, each of them as fast as before; in the best second, for a machine may stand still in another.
    assert max(each[3:6]) > 1.4 * max(each[1:3])
