"""What a verdict costs: time and memory of `harness analyse` on synthetic records of growing size.

    python benchmarks/analysis.py                 # 10 thousand to 10 million rows, 50 endpoints: some two minutes
    python benchmarks/analysis.py --rows 1000000
    python benchmarks/analysis.py --check         # fails when 10 million rows take over 15 s or 1.5 GB

Each record has a baseline and a fault arm of 300 s: uniform arrivals to 50 endpoints, log-normal response times, 2 % of
errors that are retried once, one endpoint in ten much worse while the fault is on. The rows go the way of a real run: a
load worker's spool is merged into a record by the writer. Then `harness analyse` judges it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.paths import RunFolder
from harness.record.spool import ERROR_WORDS, ROW_DTYPE, RowWriter, names_path
from harness.record.writer import ArmStart, RecordWriter

NS = 1_000_000_000
Ints = NDArray[np.integer[Any]]
ARM_S = 300
FAULT_S = (120.0, 150.0)
ENDPOINTS = 50
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
MOST_SECONDS = 15.0
MOST_BYTES = 1.5e9


@dataclass(frozen=True)
class Cost:
    """One verdict: wall clock and CPU in seconds, peak resident memory in bytes, and the outcome's exit code."""

    rows: int
    write_s: float
    wall_s: float
    cpu_s: float
    peak_bytes: int
    exit_code: int


def main() -> int:
    """Measure, print the table, and with --check compare the largest record with the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sizes of the records")
    parser.add_argument("--folder", type=Path, help="where the records go and stay (default: a temporary folder)")
    parser.add_argument("--check", action="store_true", help="exit 1 when the largest record is beyond the limits")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="analysis-benchmark-") as temporary:
        folder = chosen.folder or Path(temporary)
        print(f"{'rows':>12} {'write s':>8} {'verdict s':>10} {'CPU s':>8} {'us/row':>8} {'peak MB':>8} {'exit':>5}")
        costs = []
        for rows in chosen.rows:
            cost = measure(folder / f"{rows}-rows", rows)
            costs.append(cost)
            print(
                f"{rows:>12,} {cost.write_s:>8.2f} {cost.wall_s:>10.2f} {cost.cpu_s:>8.2f}"
                f" {cost.cpu_s / rows * 1e6:>8.2f} {cost.peak_bytes / 1e6:>8.0f} {cost.exit_code:>5}",
                flush=True,
            )
    largest = costs[-1]
    beyond = largest.wall_s > MOST_SECONDS or largest.peak_bytes > MOST_BYTES
    if chosen.check and beyond:
        print(f"beyond the limits of {MOST_SECONDS:.0f} s and {MOST_BYTES / 1e9:.1f} GB", file=sys.stderr)
    return int(chosen.check and beyond)


def measure(folder: Path, rows: int) -> Cost:
    """Write a record of `rows` rows into `folder` and have it judged."""
    started = time.monotonic()
    write_record(folder, rows)
    written = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "analyse", str(folder), "--json"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    verdict = json.loads(answer)["verdict"]
    assert len(verdict["endpoints"]) == ENDPOINTS, "the record has lost endpoints"
    return Cost(
        rows=rows,
        write_s=written - started,
        wall_s=time.monotonic() - written,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
        exit_code=process.returncode,
    )


def write_record(root: Path, rows: int) -> None:
    """A record of two arms, `rows` rows in all, from spools as a load worker leaves them."""
    folder = RunFolder(root)
    folder.spool.mkdir(parents=True)
    names = [f"endpoint-{number:02d}" for number in range(ENDPOINTS)]
    phases = [("warm-up", 0, 10), ("steady", 10, 120), ("spike", 120, 200), ("recovery", 200, ARM_S)]
    writer = RecordWriter(
        folder,
        {
            "run_id": root.name,
            "scenario": {
                "name": "benchmark",
                "load": {"timeout": "1s"},
                "expect": [
                    "error-rate increases by < 1pp",
                    *(f"p95 of {name} increases by < 50%" for name in names[:5]),
                    "recovers within 10s",
                    "no cascade",
                ],
            },
            "scenario_sha256": "0" * 64,
            "phases": [{"name": name, "start_s": start, "end_s": end} for name, start, end in phases],
            "faults": [{"id": "redis-down", "kind": "redis-down", "component": "redis", "at_s": FAULT_S[0]}],
            "target": {
                "dependencies": {name: ["app", *(["redis"] if at % 10 == 0 else [])] for at, name in enumerate(names)},
                "component_dependencies": {"app": ["redis"]},
            },
        },
    )
    arms = []
    for number, kind in enumerate(("baseline", "fault")):
        spool = folder.spool / f"{kind}-1.rows"
        write_spool(spool, rows // 2, names, kind == "fault", seed=rows + number)
        if kind == "fault":
            for at, word in zip(FAULT_S, ("fault.active", "fault.clear"), strict=True):
                writer.event(word, arm="fault-1", t_ns=int(at * NS), fault="redis-down", component="redis")
        writer.add_samples(f"{kind}-1", [spool])
        start_utc = f"2026-01-01T00:{10 * number:02d}:00Z"
        arms.append(ArmStart(f"{kind}-1", kind, 1, start_utc, number * 600 * NS, ARM_S))
        spool.unlink()
        names_path(spool).unlink()
    writer.close((), arms)


def write_spool(path: Path, rows: int, names: list[str], disturbed: bool, seed: int) -> None:
    """One worker's rows of an arm, written with numpy in the format of `harness.record.spool`."""
    random = np.random.default_rng(seed)
    RowWriter(path).close()
    names_path(path).write_text("".join(json.dumps(name) + "\n" for name in names))
    # Failures come back as a second attempt: fewer arrivals, so that the rows are about as many as asked for.
    arrivals = rows * 100 // 103
    due = ((np.arange(arrivals) + 0.5) / arrivals * (ARM_S - 2) * NS).astype(np.int64)
    called = random.integers(0, len(names), arrivals)
    first = _attempts(random, np.zeros(arrivals, np.int16), np.arange(arrivals), due, called, disturbed)
    again = np.flatnonzero(first["error"])[: rows - arrivals]
    wanted = first["end_ns"][again]
    second = _attempts(random, np.ones(again.size, np.int16), again, wanted, called[again], disturbed)
    table = np.concatenate((first, second))
    table["local"] = np.arange(table.size)
    with path.open("ab") as file:
        file.write(table.tobytes())


def _attempts(
    random: np.random.Generator, attempt: Ints, first: Ints, intended: Ints, endpoint: Ints, disturbed: bool
) -> NDArray[Any]:
    """Rows of attempts that are due at `intended` (ns) and belong to the arrivals `first`."""
    hit = disturbed & (intended >= FAULT_S[0] * NS) & (intended < FAULT_S[1] * NS) & (endpoint % 10 == 0)
    took_s = 0.02 * np.exp(0.5 * random.standard_normal(attempt.size)) * np.where(hit, 5.0, 1.0)
    failed = random.random(attempt.size) < np.where(hit, 0.4, 0.02)
    table = np.zeros(attempt.size, dtype=np.dtype(ROW_DTYPE))
    table["attempt"], table["first_local"], table["endpoint"] = attempt, first, endpoint
    table["intended_ns"] = table["start_ns"] = intended
    table["end_ns"] = intended + (np.minimum(took_s, 1.0) * NS).astype(np.int64)
    table["bytes"] = 512
    table["status"] = np.where(failed, 503, 200)
    table["error"] = np.where(failed, ERROR_WORDS.index("http_5xx"), 0)
    return table


if __name__ == "__main__":
    sys.exit(main())
