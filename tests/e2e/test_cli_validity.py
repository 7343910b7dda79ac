"""A generator that does not do what was planned makes the run invalid: exit code 5, and the reason says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.paths import shipped

SCENARIO = """\
name: {name}
hypothesis: The shop carries this.
target: sample-flask-app
variant: hardened
load:
  users: visitors.py
  arrivals: uniform
  rate: {rate}/s
  pool: {pool}
  timeout: 1s
  phases: [{{warm-up: 1s}}, {{steady: 6s}}]
faults:
  - redis-down: {{at: steady + 1s, for: 1s}}
expect:
  - error-rate increases by < 10pp
"""

# 10 ms of processor time per arrival: 200/s are the work of two workers, on however fast a machine.
BUSY_VISITORS = """\
import time

from locust import task

from harness.load.user import OpenHttpUser


class Visitor(OpenHttpUser):
    @task
    def ping(self):
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        self.client.get("/ping", name="ping")
"""

SHOPPERS = (shipped("scenarios") / "locustfiles" / "shop.py").read_text()


@pytest.mark.parametrize(
    ("visitors", "rate", "pool", "remedy"),
    [
        pytest.param(BUSY_VISITORS, 200, 300, "--workers", id="more than one worker can do"),
        pytest.param(SHOPPERS, 200, 1, "raise `load.pool`", id="too few virtual users"),
    ],
)
def test_a_generator_that_is_the_limit_makes_the_run_invalid(
    visitors: str, rate: int, pool: int, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "visitors.py").write_text(visitors)
    scenario = tmp_path / "limit.yaml"
    scenario.write_text(SCENARIO.format(name="generator-limit", rate=rate, pool=pool))
    code, told = harness("run", scenario, "--only", "baseline", "--out", tmp_path / "results", "--json")
    assert code == 5, told
    (run,) = (tmp_path / "results").iterdir()
    validity = json.loads((run / "run.json").read_text())["validity"]
    assert not validity["valid"]
    assert any(remedy in reason for reason in validity["reasons"]), validity
    assert remedy in (run / "report.html").read_text()
    assert harness("analyse", run, "--json")[0] == 5


def harness(*arguments: Any) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr
