"""Apps that are not the sample shop."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from runs import NAME, finish, harness, only_run

from harness.ports import reserve_port
from harness.probes import probe, wait_for
from harness.record.reader import read
from harness.stack import valkey

HELLO = Path(__file__).parents[1] / "targets" / "hello-fastapi"

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SCENARIO = f"""\
name: far-{NAME}-redis
hypothesis: When Redis is 200 ms away, saying hello is as fast as ever.
target: {HELLO}
load:
  users: {HELLO}/visitors.py
  rate: 80/s
  timeout: 1s
  phases: [{{warm-up: 1s}}, {{steady: 2s}}, {{spike: 4s, rate: +30%}}, {{recovery: 3s}}]
faults:
  - latency: {{on: web->redis, latency: 200ms, at: spike + 500ms, for: 3s}}
expect:
  - p95 of hello increases by < 30ms
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


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    """The address of a guest book that somebody has started, with a Redis of its own."""
    web, redis = reserve_port(), reserve_port()
    commands = (
        [str(valkey.binary()), "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        [sys.executable, "-m", "uvicorn", "--port", str(web), "--no-access-log", "hello:app"],
    )
    environment = {"REDIS_URL": f"redis://127.0.0.1:{redis}", "REDIS_TIMEOUT": "1"}
    with (tmp_path / "log").open("wb") as log:
        started = [
            subprocess.Popen(command, cwd=HELLO, env=environment, stdout=log, stderr=log) for command in commands
        ]
    try:
        assert wait_for(lambda: probe("http", f"127.0.0.1:{web}", path="/up").ok, timeout_s=20)
        yield f"127.0.0.1:{web}"
        assert [process.poll() for process in started] == [None, None], "it was not the harness's to end"
    finally:
        for process in started:
            process.terminate()
            process.wait(10)


def test_an_app_that_runs_already(running: str, tmp_path: Path) -> None:
    scenario = tmp_path / "far.yaml"
    scenario.write_text(SCENARIO)
    results = tmp_path / "results"
    refused = finish(harness("run", scenario, "--out", results, "--target", f"http://{running}"))
    assert refused[0] == 2
    assert "needs a place that has a proxy of the harness on it, which `web->redis` is not" in refused[2]
    assert not results.exists()

    scenario.write_text(SCENARIO.replace("web->redis", "client->web"))
    code, out, err = finish(harness("run", scenario, "--out", results, "--target", f"http://{running}", "--json"))
    # Saying hello does get slower now; undecided or invalid on a machine that hiccups.
    assert code in (1, 4, 5), err
    if code == 1:
        assert json.loads(out)["verdict"]["outcome"] == "fail"
    run = only_run(results)
    assert min(medians_s(run, "fault-1").values()) > 0.2 > 0.1 > max(medians_s(run, "baseline-1").values())
    record = read(run)
    assert record.info.target.existing["web"] == f"http://{running}"
    counted = record.telemetry.series("fault-1", "web-1", "requests_total")[1]
    assert counted[-1] - counted[0] > 300
    assert f"--target http://{running}" in (run / "report.html").read_text()


def test_what_init_writes_becomes_a_run_of_an_app_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert finish(harness("init", mine))[0] == 0
    shutil.copy(HELLO / "hello.py", mine / "targets" / "my-app")
    edit(
        mine / "targets" / "my-app" / "target.yaml",
        ("  postgres: {engine: postgres}\n", ""),
        (
            '-m, gunicorn, --threads, "16", --bind, "127.0.0.1:{port}", "my_app:app"',
            '-m, uvicorn, --port, "{port}", "hello:app"',
        ),
        ('      DATABASE_URL: "{app->postgres.url}"\n', ""),
        ("env: REDIS_TIMEOUT_SECONDS", "env: REDIS_TIMEOUT"),
        ("ready: /healthz", "ready: /up"),
        ("edges: [app->postgres, app->redis]", "edges: [app->redis]"),
        ("item: [app, redis, postgres]", "item: [app, redis]"),
        ("app: [postgres, redis]", "app: [redis]"),
    )
    edit(
        mine / "scenarios" / "locustfiles" / "my_app.py",
        ('get("/"', 'get("/hello/ann"'),
        ('get("/item/1"', 'post("/visits/ann"'),
    )
    edit(
        mine / "scenarios" / "first.yaml",
        ("name: first", f"name: first-{NAME}-run"),
        ("{warm-up: 5s} ", "{warm-up: 1s} "),
        ("{steady: 20s}", "{steady: 2s}"),
        ("{spike: 30s, rate: +30%, ramp: 2s}", "{spike: 4s, rate: +30%}"),
        ("{recovery: 30s}", "{recovery: 3s}"),
        ("spike + 5s, for: 15s", "spike + 500ms, for: 3s"),
    )
    code, _, err = finish(harness("run", "scenarios/first.yaml", cwd=mine))
    assert code in (1, 5), err  # the guest book has nothing in place of Redis
    record = read(only_run(mine / "results"))
    rows = record.arm("fault-1")
    failed = {record.endpoint_names[code] for code in set(rows.endpoint[rows.status == 503].tolist())}
    assert failed == {"item"}


def edit(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)
