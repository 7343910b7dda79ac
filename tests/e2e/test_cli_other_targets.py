"""Apps that are not the sample shop."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs import finish, harness, only_run

from harness.record.reader import read

HELLO = Path(__file__).parents[1] / "targets" / "hello-fastapi"

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SCENARIO = f"""\
name: far-short-redis
hypothesis: When Redis is 200 ms away, saying hello is as fast as ever.
target: {HELLO}
load:
  users: {HELLO}/visitors.py
  rate: 40/s
  timeout: 1s
  phases: [{{warm-up: 1s}}, {{steady: 2s}}, {{spike: 4s, rate: +30%}}, {{recovery: 3s}}]
faults:
  - latency: {{on: web->redis, latency: 200ms, at: spike + 500ms, for: 3s}}
expect:
  - p95 of hello increases by < 100%
"""


def medians_s(run: Path, arm: str) -> dict[str, float]:
    """The median response time of each endpoint between `fault.active` and `fault.clear` of the run, in one arm."""
    record = read(run)
    at_ns = {event.kind: event.t_ns for event in record.events if event.kind.startswith("fault.")}
    rows = record.arm(arm)
    inside = (rows.intended_ns >= at_ns["fault.active"]) & (rows.intended_ns < at_ns["fault.clear-requested"])
    response_s = (rows.end_ns - rows.intended_ns) / 1e9
    names = np.array(rows.endpoint_names)[rows.endpoint]
    return {name: float(np.median(response_s[inside & (names == name)])) for name in ("hello", "visits")}


def test_an_asynchronous_app_without_a_database(tmp_path: Path) -> None:
    scenario = tmp_path / "far.yaml"
    scenario.write_text(SCENARIO)
    results = tmp_path / "results"
    code, out, err = finish(harness("run", scenario, "--out", results, "--seed", "5", "--json"))
    assert code in (0, 4, 5), err  # undecided or invalid on a machine that hiccups
    run = only_run(results)
    before, within = medians_s(run, "baseline-1"), medians_s(run, "fault-1")
    assert within["visits"] > 0.2 > 0.1 > before["visits"]
    assert within["hello"] < 0.1
    if code == 0:
        assert json.loads(out)["verdict"]["cascade"]["class"] == "contained"
