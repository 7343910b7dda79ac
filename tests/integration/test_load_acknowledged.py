"""The keys of acknowledged writes, from every kind of user: those that clients were told of, and nothing else."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from load_hosts import site
from load_servers import OK, Server, Wire, make_load, make_specs, read_rows, respond, steady, worker_env

from harness.load.workers import LoadWorkers
from harness.plan import Retry
from harness.record.acknowledged import acknowledged_path, read_acknowledged

KINDS = {
    "open": ("from harness.load.user import OpenHttpUser as Base", False),
    "http": ("from locust import HttpUser as Base", False),
    "fast": ("from locust.contrib.fasthttp import FastHttpUser as Base", False),
    "fast, judged": ("from locust.contrib.fasthttp import FastHttpUser as Base", True),
}
RETRIES = {"save": Retry("immediate", 1, 0.0, 0.0, None)}


class Store:
    """Stores what it is told to: at once, at the second attempt, never, or without an answer, in turn."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.early: set[str] = set()
        self._kinds: dict[str, int] = {}
        self._attempts: Counter[str] = Counter()

    def __call__(self, wire: Wire, server: Server) -> None:
        while True:
            _, path, body = server.request(wire)
            if path == "/look":
                wire.send(OK)
                continue
            key = json.loads(body)["key"]
            if key.startswith("early"):
                self.early.add(key)
                wire.send(respond(201))
                continue
            self._attempts[key] += 1
            kind = self._kinds.setdefault(key, len(self._kinds) % 4)
            if kind == 0 or (kind == 1 and self._attempts[key] == 2):
                self.told.add(key)
                wire.send(respond(201))
            elif kind == 3:
                return
            else:
                wire.send(respond(503))


def locustfile(kind: str) -> str:
    base, judged = KINDS[kind]
    post = 'self.client.post("/save", name="save", json={"key": key}, headers={"idempotency-key": key}'
    save = f'with {post}, catch_response=True) as response: response.failure("so it is")' if judged else f"{post})"
    return f"""
        import uuid
        from locust import task
        {base}

        class Saver(Base):
            def on_start(self):
                key = "early" + uuid.uuid4().hex
                {post})
            @task(3)
            def save(self):
                key = uuid.uuid4().hex
                {save}
            @task
            def look(self):
                self.client.get("/look", name="look", headers={{"Idempotency-Key": "look"}})
    """


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_what_clients_were_told_of_is_noted(tmp_path: Path, kind: str) -> None:
    load = make_load(tmp_path, locustfile(kind), steady(100, 1.0, quiet_s=0.5), retries=RETRIES, workers=2)
    store = Store()
    with Server(store) as server:
        plain = make_specs(tmp_path, load, server.host)
        workers = LoadWorkers(
            [replace(spec, acknowledges=("save", "Idempotency-Key")) for spec in plain], env=worker_env()
        )
        workers.start()
        try:
            workers.wait_ready(30)
            t0_ns = time.monotonic_ns() + 50_000_000
            workers.go(t0_ns)
            results = workers.wait(load.duration_s + 20)
        finally:
            workers.kill()
    assert [result.last_words for result in results] == ["", ""]
    noted = read_acknowledged([result.spool for result in results])
    # What is answered after the arm's end is an aborted row, and was told to nobody.
    saves = [read_rows(result.spool).of("save").data["status"] for result in results]
    assert len(noted) == sum(int((status == 201).sum()) for status in saves)
    assert set(noted) <= store.told
    assert 20 < len(noted) < server.requests["/save"] / 2
    assert store.early
    assert all(0 <= at_ns <= load.duration_s * 1e9 for at_ns in noted.values())


def test_nobody_notes_what_nobody_asks_for(tmp_path: Path) -> None:
    load = make_load(tmp_path, locustfile("open"), steady(50, 0.5, quiet_s=0.2))
    with Server(Store()) as server:
        (spec,) = make_specs(tmp_path, load, server.host)
        workers = LoadWorkers([spec], env=worker_env())
        workers.start()
        try:
            workers.wait_ready(30)
            workers.go(time.monotonic_ns() + 50_000_000)
            (result,) = workers.wait(load.duration_s + 20)
        finally:
            workers.kill()
    assert result.rows
    assert not acknowledged_path(result.spool).exists()


def test_keys_come_from_other_hosts_too(tmp_path: Path) -> None:
    home = tmp_path / "users"
    home.mkdir()
    load = make_load(home, locustfile("open"), steady(60, 1.0, quiet_s=0.5), retries=RETRIES)
    store = Store()
    with Server(store) as server, site(tmp_path, load, 1) as here:
        specs = make_specs(tmp_path, load, server.host)
        workers, _ = here.begin([replace(spec, acknowledges=("save", "Idempotency-Key")) for spec in specs])
        results = workers.wait(load.duration_s + 30)
    noted = read_acknowledged([result.spool for result in results])
    statuses = [read_rows(result.spool).of("save").data["status"] for result in results]
    assert len(noted) == int((statuses[0] == 201).sum()) > 0
    assert set(noted) <= store.told
