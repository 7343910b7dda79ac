"""Real load workers against real sockets: every planned arrival ends as a row, whatever the system does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from load_servers import (
    OK,
    Server,
    Wire,
    drive,
    good,
    make_load,
    make_specs,
    planned_ns,
    read_rows,
    respond,
    steady,
    worker_env,
)

from harness.clock import sleep_until
from harness.errors import LoadError
from harness.load.arrivals import draw_indices
from harness.load.validity import validity_reasons
from harness.load.workers import LoadWorkers
from harness.plan import Retry
from harness.shapes import Segment

ONE_TASK = """
    from locust import task
    from harness.load.user import OpenHttpUser

    class Shopper(OpenHttpUser):
        @task
        def catalog(self):
            self.client.get("/catalog", name="catalog")
"""


def test_each_arrival_is_one_request_whatever_the_server_does(tmp_path):
    locustfile = """
        from locust import task
        from harness.load.user import OpenHttpUser

        class Shopper(OpenHttpUser):
            @task
            def fine(self):
                assert self.client.get("/fine?x=1", name="fine").ok
            @task
            def closes(self):
                self.client.get("/closes", name="closes")
            @task
            def stalls(self):
                self.client.put("/stalls", name="stalls", data={"a": 1})
            @task
            def half(self):
                self.client.get("/half", name="half")
            @task
            def garbage(self):
                self.client.get("/garbage", name="garbage")
            @task
            def missing(self):
                self.client.delete("/missing")
            @task
            def wrong(self):
                response = self.client.post("/wrong", name="wrong", json={"sku": 1})
                response.fail("no order number")
            @task
            def broken_task(self):
                self.client.get("/fine", name="broken")
                raise KeyError("order")
            @task
            def never_sent(self):
                raise ValueError("before the request")
            @task
            def moved(self):
                self.client.get("/moved", name="moved")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, body = server.request(wire)
            if path == "/closes":
                return
            if path == "/stalls":
                assert body == b"a=1"
                server.released.wait(10)
                return
            if path == "/half":
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                return
            if path == "/garbage":
                wire.send(b"220 mail.example ESMTP\r\n")
                return
            if path == "/moved":
                wire.send(b"HTTP/1.1 302 Found\r\nLocation: /fine\r\nContent-Length: 0\r\n\r\n")
            elif path == "/missing":
                wire.send(respond(404))
            else:
                wire.send(OK)

    load = make_load(tmp_path, locustfile, steady(100, 1.2, quiet_s=1.5), users=60, timeout_s=1.0)
    with Server(script) as server:
        results, [rows] = drive(tmp_path, load, server.host)

    assert rows.arrivals == len(rows.data) == len(planned_ns(load)) == results[0].arrivals
    assert sorted(rows.data["intended_ns"]) == planned_ns(load)
    expected = {
        "fine": "", "closes": "reset", "stalls": "timeout", "half": "reset", "garbage": "protocol",
        "/missing": "http_4xx", "wrong": "check", "broken": "check", "never_sent": "check", "moved": "",
    }  # fmt: skip
    assert {name: set(rows.of(name).errors) for name in set(rows.endpoints)} == {n: {e} for n, e in expected.items()}
    assert set(rows.of("/missing").data["status"]) == {404}
    assert set(rows.of("moved").data["status"]) == {302}
    assert set(rows.of("fine").data["bytes"]) == {2}
    for name, path in (("closes", "/closes"), ("stalls", "/stalls"), ("half", "/half"), ("moved", "/moved")):
        assert server.requests[path] == len(rows.of(name).data)
    assert server.requests["/fine"] == len(rows.of("broken").data)
    late = rows.of("stalls").data
    assert ((late["end_ns"] - late["start_ns"]) >= 1_000_000_000).all()


def test_the_step_is_on_time_and_workers_share_one_schedule(tmp_path):
    segments = (Segment(0, 0.8, 100, 100), Segment(0.8, 1.6, 130, 130))
    locustfile = (
        ONE_TASK
        + """
        @task(2)
        def cart(self):
            self.client.get("/cart", name="cart")
    """
    )
    load = make_load(tmp_path, locustfile, segments, spacing="poisson", workers=2, seed=42)
    with Server(good) as server:
        results, both = drive(tmp_path, load, server.host)
    instants = planned_ns(load)
    assert [result.arrivals for result in results] == [len(instants[0::2]), len(instants[1::2])]
    draws = draw_indices([1, 2], load.seed)
    story = [(instant, ("catalog", "cart")[next(draws)]) for instant in instants]
    for worker, rows in enumerate(both):
        seen = zip(rows.data["intended_ns"].tolist(), rows.endpoints.tolist(), strict=True)
        assert sorted(seen) == story[worker::2]


def test_in_flight_at_the_end_becomes_aborted_rows_that_end_with_the_arm(tmp_path):
    def hang(wire: Wire, server: Server) -> None:
        server.request(wire)
        server.released.wait(10)

    load = make_load(tmp_path, ONE_TASK, steady(50, 1.0), users=20, timeout_s=30, patience_s=30)
    with Server(hang) as server:
        results, [rows] = drive(tmp_path, load, server.host)
    assert rows.arrivals == len(rows.data) == 50
    assert set(rows.errors) == {"aborted"}
    assert set(rows.endpoints) == {"catalog"}
    assert set(rows.data["end_ns"]) == {1_000_000_000}
    assert server.requests["/catalog"] == 20
    assert results[0].health[-1].in_flight == 50


def test_an_arrival_that_finds_no_free_user_is_dropped_after_its_patience(tmp_path):
    def slow(wire: Wire, server: Server) -> None:
        while True:
            server.request(wire)
            time.sleep(0.4)
            wire.send(OK)

    load = make_load(tmp_path, ONE_TASK, steady(40, 1.5), users=2, timeout_s=5, patience_s=0.3)
    with Server(slow) as server:
        results, [rows] = drive(tmp_path, load, server.host)
    assert rows.arrivals == len(rows.data) == 60
    dropped = rows.data[rows.errors == "dropped"]
    assert len(dropped) > 20
    assert (dropped["start_ns"] == dropped["end_ns"]).all()
    assert ((dropped["end_ns"] - dropped["intended_ns"]) > 300_000_000).all()
    assert set(rows.endpoints) == {"catalog"}
    served = rows.data[rows.errors == ""]
    assert ((served["start_ns"] - served["intended_ns"]) <= 300_000_000 + 50_000_000).all()
    assert server.requests["/catalog"] == len(rows.data) - len(dropped) - waiting_at_the_end(rows)
    assert results[0].health[-1].dropped == len(dropped)
    assert any("dropped" in reason for reason in validity_reasons(results, "baseline"))
    assert not any("dropped" in reason for reason in validity_reasons(results, "fault"))


def waiting_at_the_end(rows) -> int:
    """Aborted rows of arrivals that never got a user: they start with the end of the arm."""
    return int(((rows.errors == "aborted") & (rows.data["start_ns"] == rows.data["end_ns"])).sum())


def test_retries_are_rows_of_their_own_linked_to_their_arrival(tmp_path):
    locustfile = """
        from locust import task
        from harness.load.user import OpenHttpUser

        class Shopper(OpenHttpUser):
            @task
            def immediate(self):
                self.client.get("/immediate", name="immediate")
            @task
            def backoff(self):
                self.client.get("/backoff", name="backoff")
            @task
            def budget(self):
                self.client.get("/budget", name="budget")
            @task
            def refused(self):
                self.client.get("/refused", name="refused")
            @task
            def wanted(self):
                self.client.get("/wanted", name="wanted")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            wire.send(respond({"/refused": 404, "/wanted": 429}.get(path, 503)))

    retries = {
        "immediate": Retry("immediate", 3),
        "backoff": Retry("exponential", 2, base_s=0.02, cap_s=0.03),
        "budget": Retry("immediate", 3, budget=0.1),
        "refused": Retry("immediate", 3),
        "wanted": Retry("immediate", 1),
    }
    load = make_load(tmp_path, locustfile, steady(200, 1.5, quiet_s=0.5), retries=retries, users=30)
    with Server(script) as server:
        _, [rows] = drive(tmp_path, load, server.host)
    assert rows.arrivals == 300
    assert sorted(rows.data["intended_ns"][rows.data["attempt"] == 0]) == planned_ns(load)
    assert list(rows.data["local"]) == list(range(len(rows.data)))

    attempts = {name: len(rows.of(name).data) / rows.of(name).arrivals for name in set(rows.endpoints)}
    assert attempts["immediate"] == pytest.approx(4, abs=0.2)
    assert attempts["backoff"] == pytest.approx(3, abs=0.2)
    assert attempts["refused"] == 1
    assert attempts["wanted"] == pytest.approx(2, abs=0.1)
    budget = rows.of("budget")
    assert len(budget.data) - budget.arrivals <= 10 + 0.1 * budget.arrivals
    for name in attempts:
        assert server.requests[f"/{name}"] == len(rows.of(name).data)

    firsts = rows.data[rows.data["first_local"]]
    assert (firsts["attempt"] == 0).all()
    assert (firsts["endpoint"] == rows.data["endpoint"]).all()
    by_arrival: dict[int, list] = {}
    for row in rows.data:
        by_arrival.setdefault(int(row["first_local"]), []).append(row)
    for chain in by_arrival.values():
        assert [row["attempt"] for row in chain] == list(range(len(chain)))
        for before, after in pairwise(chain):
            assert before["end_ns"] <= after["intended_ns"] <= after["start_ns"]
    waits = [b["intended_ns"] - a["end_ns"] for chain in by_arrival.values() for a, b in pairwise(chain)]
    assert max(waits) <= 30_000_000


def test_end_of_standard_input_ends_the_worker_and_an_interrupt_does_not(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(50, 60))
    with Server(good) as server, launched(tmp_path, load, server.host) as process:
        heard = iter(process.stdout)
        assert json.loads(next(heard)) == {"event": "ready", "users": 20, "endpoints": ["catalog"]}
        process.stdin.write(json.dumps({"go": time.monotonic_ns()}).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(next(heard))["event"] == "progress"
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        done = [json.loads(line) for line in heard][-1]
        assert process.wait(5) == 0
    rows = read_rows(tmp_path / "worker-0.rows")
    assert done == {"event": "done", "rows": len(rows.data), "arrivals": rows.arrivals, "notes": []}
    assert 10 < rows.arrivals < 3_000


def test_rows_are_on_disk_while_the_worker_runs(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(100, 60))
    with Server(good) as server, launched(tmp_path, load, server.host) as process:
        next(iter(process.stdout))
        process.stdin.write(json.dumps({"go": time.monotonic_ns()}).encode() + b"\n")
        process.stdin.flush()
        spool, deadline = tmp_path / "worker-0.rows", time.monotonic() + 20
        while (not spool.exists() or len(read_rows(spool).data) <= 30) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert len(read_rows(tmp_path / "worker-0.rows").data) > 30


def launched(tmp_path, load, host):
    [spec] = make_specs(tmp_path, load, host)
    file = tmp_path / "spec.json"
    file.write_text(spec.to_json())
    return subprocess.Popen(
        [sys.executable, "-m", "harness.load.worker", str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=worker_env(),
    )  # fmt: skip


def test_stop_finishes_early_and_keeps_every_row(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(50, 60))
    with Server(good) as server:
        workers = LoadWorkers(make_specs(tmp_path, load, server.host), env=worker_env())
        workers.start()
        assert workers.wait_ready(30) == 20
        assert workers.latest() is None
        workers.go(time.monotonic_ns())
        deadline = time.monotonic() + 10
        while (progress := workers.latest()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert progress is not None
        assert progress.arrivals >= progress.finished > 0
        workers.stop()
        [result] = workers.wait(10)
    assert result.exit_code == 0
    assert result.rows == result.spool_rows
    assert result.arrivals == read_rows(result.spool).arrivals
    assert validity_reasons([result], "fault") == []


def test_a_worker_that_dies_is_reported(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(50, 60))
    processes: list[subprocess.Popen[bytes]] = []

    def spawn(name, argv, *, stdin, stdout, env):
        assert name == "load-worker-1"
        processes.append(subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, env=env))
        return processes[-1]

    with Server(good) as server:
        workers = LoadWorkers(make_specs(tmp_path, load, server.host), spawn=spawn, env=worker_env())
        workers.start()
        workers.wait_ready(30)
        workers.go(time.monotonic_ns())
        processes[0].kill()
        processes[0].wait()
        results = workers.wait(5)
        with pytest.raises(LoadError, match=r"load-worker-1 died \(signal 9\)"):
            workers.latest()
    assert results[0].rows is None
    assert "load-worker-1 was lost (exit code -9)" in validity_reasons(results, "fault")[0]


def test_listeners_of_the_request_event_hear_every_attempt_with_its_outcome(tmp_path):
    heard = tmp_path / "heard.jsonl"
    locustfile = f"""
        import json
        from locust import events, task
        from harness.load.user import OpenHttpUser

        OUT = open({str(heard)!r}, "a", buffering=1)

        @events.request.add_listener
        def hear(request_type, name, response_time, response_length, exception, context, **_):
            print(json.dumps([request_type, name, response_length, str(exception or ""), context]), file=OUT)

        class Shopper(OpenHttpUser):
            def on_start(self):
                assert self.client.get("/login").status == 200
            def context(self):
                return {{"who": "me"}}
            @task
            def flaky(self):
                print("this goes to standard error")
                self.client.post("/flaky", name="flaky")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            wire.send(OK if path == "/login" else respond(500))

    load = make_load(
        tmp_path, locustfile, steady(40, 0.5, quiet_s=0.5), users=5, retries={"flaky": Retry("immediate", 1)}
    )
    with Server(script) as server:
        _, [rows] = drive(tmp_path, load, server.host)
    reports = [json.loads(line) for line in heard.read_text().splitlines()]
    flaky = [report for report in reports if report[1] == "flaky"]
    assert rows.arrivals == 20
    assert set(rows.endpoints) == {"flaky"}
    assert len(flaky) == (rows.errors == "http_5xx").sum() == 40
    assert flaky[0] == ["POST", "flaky", 0, "http_5xx: status 500", {"who": "me"}]


@pytest.mark.parametrize(
    ("locustfile", "message"),
    [
        ("class Shopper(\n", r"shop_users.py:1: SyntaxError"),
        (
            "import os\nimport no_such_module\n",
            r"shop_users.py:2: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("from locust import HttpUser\n", r"there is no user class"),
        ("from locust import HttpUser\nclass Shopper(HttpUser): ...\n", r"Shopper has no task"),
        (
            "from locust import task\nfrom harness.load.user import OpenHttpUser\nclass Shopper(OpenHttpUser):\n"
            "    def on_start(self): raise RuntimeError('no account')\n    @task\n    def t(self): ...\n",
            r"Shopper.on_start raised RuntimeError: no account",
        ),
        (
            "from locust import task\nfrom harness.load.user import OpenHttpUser\nclass Seldom(OpenHttpUser):\n"
            "    weight = 1\n    @task\n    def t(self): ...\nclass Often(Seldom):\n    weight = 1000\n",
            r"none of the 20 virtual users is a Seldom",
        ),
    ],
    ids=["syntax", "import", "no user", "no task", "on_start", "pool too small"],
)
def test_mistakes_in_a_locustfile_are_told_with_their_place(tmp_path, locustfile, message):
    load = make_load(tmp_path, locustfile, steady(1, 1))
    workers = LoadWorkers(make_specs(tmp_path, load, "http://127.0.0.1:9"), env=worker_env())
    workers.start()
    with pytest.raises(LoadError, match=message):
        workers.wait_ready(30)
    [result] = workers.wait(10)
    assert result.exit_code == 2


def test_a_missing_module_leaves_no_traceback(tmp_path):
    load = make_load(tmp_path, "import no_such_module\n", steady(1, 1))
    [spec] = make_specs(tmp_path, load, "http://127.0.0.1:9")
    file = tmp_path / "spec.json"
    file.write_text(spec.to_json())
    ended = subprocess.run(
        [sys.executable, "-m", "harness.load.worker", str(file)],
        capture_output=True, stdin=subprocess.PIPE, env=worker_env(), timeout=30, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["event"] == "error"
    assert b"Traceback" not in ended.stderr


def test_locusts_own_users_are_driven_by_the_same_pacer(tmp_path):
    locustfile = """
        from locust import FastHttpUser, HttpUser, task

        class Stock(HttpUser):
            @task
            def stock_fine(self):
                self.client.get("/fine", name="stock fine")
            @task
            def stock_closes(self):
                self.client.get("/closes-1", name="stock closes")
            @task
            def stock_stalls(self):
                self.client.get("/stalls-1", name="stock stalls")
            @task
            def stock_wrong(self):
                with self.client.get("/fine", name="stock wrong", catch_response=True) as response:
                    response.failure("wrong")

        class Fast(FastHttpUser):
            @task
            def fast_fine(self):
                self.client.get("/fine", name="fast fine")
            @task
            def fast_closes(self):
                self.client.get("/closes-2", name="fast closes")
            @task
            def fast_stalls(self):
                self.client.get("/stalls-2", name="fast stalls")
            @task
            def fast_error(self):
                self.client.get("/error", name="fast error")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            if path.startswith("/closes"):
                return
            if path.startswith("/stalls"):
                server.released.wait(10)
                return
            wire.send(respond(503) if path == "/error" else OK)

    retries = {"fast error": Retry("immediate", 1)}
    load = make_load(tmp_path, locustfile, steady(60, 1.0, quiet_s=1.5), users=60, timeout_s=1.0, retries=retries)
    with Server(script) as server:
        results, [rows] = drive(tmp_path, load, server.host)
    assert results[0].last_words == ""
    assert rows.arrivals == 60
    assert sorted(rows.data["intended_ns"][rows.data["attempt"] == 0]) == planned_ns(load)
    expected = {
        "stock fine": "", "stock closes": "reset", "stock stalls": "timeout", "stock wrong": "check",
        "fast fine": "", "fast closes": "reset", "fast stalls": "timeout", "fast error": "http_5xx",
    }  # fmt: skip
    assert {name: set(rows.of(name).errors) for name in set(rows.endpoints)} == {n: {e} for n, e in expected.items()}
    assert server.requests["/closes-1"] == len(rows.of("stock closes").data)
    assert server.requests["/closes-2"] == len(rows.of("fast closes").data)
    assert len(rows.of("fast error").data) == 2 * rows.of("fast error").arrivals
    assert (rows.data["end_ns"] >= rows.data["start_ns"]).all()
    assert np.median(rows.data["start_ns"] - rows.data["intended_ns"]) < 100_000_000


def test_the_worker_side_imports_nothing_heavy():
    code = (
        "import sys, harness.load.worker\n"
        "print([name for name in ('numpy', 'scipy', 'pyarrow', 'pydantic', 'asyncio') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_reading_thread_ends_with_the_worker(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(20, 0.3))
    with Server(good) as server:
        drive(tmp_path, load, server.host)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-load-worker")]


def test_a_stop_at_the_very_end_cuts_no_arrival_off(tmp_path):
    load = make_load(tmp_path, ONE_TASK, steady(400, 0.7), users=40)
    with Server(good) as server:
        workers = LoadWorkers(make_specs(tmp_path, load, server.host), env=worker_env())
        workers.start()
        workers.wait_ready(30)
        t0_ns = time.monotonic_ns()
        workers.go(t0_ns)
        sleep_until(t0_ns + 700_000_000)
        workers.stop()
        [result] = workers.wait(10)
    assert result.arrivals == len(planned_ns(load)) == 280
