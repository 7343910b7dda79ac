"""The studies from the command line: stopped and going on, few settings as data, nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "harness", "calibrate", "--study", "numbers", *map(str, arguments)]


def test_a_study_that_is_stopped_keeps_what_is_finished_and_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    study = subprocess.Popen(
        command("--times", "2", "--kept", kept), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (kept.exists() and kept.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(study.pid).children(recursive=True)
    study.send_signal(signal.SIGINT)
    _, err = study.communicate(timeout=60)
    assert study.returncode == 130, err
    assert "Traceback" not in err
    assert psutil.wait_procs(children, timeout=20)[1] == []
    finished = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len({line["cell"] for line in finished}) == len(finished) >= 2
    again = subprocess.Popen(command("--times", "2", "--kept", kept), stderr=subprocess.PIPE, text=True)
    assert again.stderr is not None
    assert f"{len(finished)} of " in again.stderr.readline()
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)


def test_a_quick_study_is_data_for_programs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = subprocess.run(
        command("--quick", "--times", "10", "--json", "--docs", page, "--quiet"),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # so few trials may miss a goal by chance
    told = json.loads(done.stdout)
    assert {row["metric"] for row in told["numbers"]} == {"error-rate", "p50", "p95", "p99"}
    assert all(sum(truth.values()) == row["trials"] for row in told["numbers"] for truth in row["outcomes"].values())
    assert page.read_text(encoding="utf-8").startswith("# How often the verdict is wrong")
