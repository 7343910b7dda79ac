"""Whole runs with many faults at once, killed at random moments: the guard takes back every one, and ends the stack."""

import json
import os
import random
import time
from pathlib import Path

import pytest
from runs import harness, only_run, ours, wait_for_event

from harness.probes import wait_for

pytestmark = pytest.mark.usefixtures("nothing_is_left")
KILLS = max(1, int(os.environ.get("HARNESS_KILLS", "24")) // 40)
SEED = 20261
FAULTS = ", ".join(
    f"{{{fault}: {{{where}, at: steady, for: 5s}}}}"
    for fault, where in {
        "latency": "on: app->auth, latency: 200ms",
        "down": "on: app->payments",
        "redis-pause": "on: redis",
        "lock": "table: shop.orders",
        "kill": "on: app-1",
        "pause": "on: app-2",
        "cpu-burn": "on: auth",
    }.items()
)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_that_is_killed_in_the_middle_of_many_faults(scenario: Path, tmp_path: Path, number: int) -> None:
    results = tmp_path / "results"
    changes = (f"faults=[{FAULTS}]", "load.phases=[{warm-up: 500ms}, {steady: 8s}]", "load.rate=20/s")
    words = [word for change in changes for word in ("--set", change)]
    process = harness("run", scenario, "--only", "fault", *words, "--out", results)
    wait_for_event(results, "fault.requested", "latency")
    time.sleep(random.Random(SEED + number).uniform(0.0, 3.0))
    process.kill()
    died = time.monotonic()
    process.wait()
    ledger = (only_run(results) / "ledger.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in ledger if line.endswith("}")]
    begun = {one["id"] for one in entries if one["entry"] == "undo"}
    begun -= {one["id"] for one in entries if one["entry"] == "reverted"}
    assert len(begun) >= 5
    assert wait_for(lambda: not ours(), timeout_s=15), ours()
    print(f"nothing was left {time.monotonic() - died:.1f} s after the kill")
    log = only_run(results) / "logs" / "guard.log"
    assert wait_for(lambda: not (only_run(results) / "ledger.jsonl").exists(), timeout_s=15), log.read_text()
    # The guard says what it has done when the ledger has gone.
    said = {f"fault {one} reverted" for one in begun}
    assert wait_for(lambda: all(line in log.read_text() for line in said), timeout_s=5), log.read_text()
    assert "could not take back" not in log.read_text()
