"""Starts the command line on a short scenario, and watches it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.processes import TAG

NAME = f"short-{os.getpid()}"
"""Part of the name of every scenario here: what other test runs on this machine start is not ours."""

SHORT = """\
name: {name}
hypothesis: If Redis dies for two seconds the shop keeps serving.
target: sample-flask-app
variant: hardened
load:
  users: {users}
  arrivals: poisson
  rate: 40/s
  timeout: 1s
  phases: [{{warm-up: 1s}}, {{steady: 2s}}, {{spike: 3s, rate: +30%}}, {{recovery: 4s}}]
faults:
  - redis-down: {{at: spike + 500ms, for: 2s}}
expect:
  - error-rate increases by < 10pp
"""


def scratch() -> set[str]:
    return {str(path) for path in Path(tempfile.gettempdir()).glob(f"harness-*-{NAME}-*")}


def ours() -> list[str]:
    """Processes that carry the tag of a run of these scenarios."""
    found = []
    for process in psutil.process_iter():
        try:
            if f"-{NAME}-" in process.environ().get(TAG, "") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.cmdline()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def harness(*arguments: str | Path, on: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
    """`on` is a command that starts it somewhere else."""
    return subprocess.Popen(
        [*on, sys.executable, "-m", "harness", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 120) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.terminate()  # what it leaves would fail the tests that come after
        process.communicate(timeout=60)
        raise
    return process.returncode, out, err


def small_disk_at(path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, mounted there while the generator lasts; skips the test where that is not possible."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted (root is needed): {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> Path:
    """Write until it is full, to the last byte; returns the file to delete."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def only_run(results: Path) -> Path:
    (run,) = results.iterdir()
    return run


def whole_lines(file: Path) -> list[str]:
    """Those of a file that somebody else may just be adding to."""
    return file.read_text().rpartition("\n")[0].splitlines()


def wait_for_event(results: Path, kind: str, what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for path in results.glob("*/events.jsonl"):
            for line in whole_lines(path):
                event = json.loads(line)
                if event["kind"] == kind and what in (event.get("fault"), event.get("phase")):
                    return
        time.sleep(0.02)
    raise TimeoutError(f"no {kind} of {what}")
