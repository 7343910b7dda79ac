"""A full disk: under PostgreSQL, and under a process that writes files; bounded, and gone afterwards."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from stack_bench import SHOP, Bench

from harness import ledger
from harness.errors import ScenarioError
from harness.faults.families import resources
from harness.faults.undo import by_hand, carry_out
from harness.probes import wait_for
from harness.processes import Processes
from harness.scenario.manifest import load_target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the small disk that is filled")

SCRIBE = """
import pathlib, sys, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Scribe(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        try:
            (pathlib.Path(sys.argv[2]) / uuid.uuid4().hex).write_bytes(bytes(100_000))
            self.answer(201)
        except OSError as error:
            self.answer(507, str(error).encode())

    def answer(self, status, body=b"ok"):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Scribe).serve_forever()
"""
MANIFEST = """
name: scribe
description: writes a note for every POST
processes:
  app:
    command: ["{python}", "{target}/scribe.py", "{port}", "{disk}"]
    replicas: 2
    ready: /
    disk: 10MB
entry: app
dependencies: {note: [app]}
"""


@pytest.fixture(scope="module")
def scribes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("scribe")
    (folder / "target.yaml").write_text(MANIFEST)
    (folder / "scribe.py").write_text(SCRIBE)
    with Bench(folder / "run-scribe", target=load_target(folder), preset="").booted() as bench:
        yield bench
    assert f"harness-{bench.processes.run_id}" not in Path("/proc/mounts").read_text()
    assert not (Path(tempfile.gettempdir()) / f"harness-{bench.processes.run_id}").exists()


def note(bench: Bench, name: str) -> requests.Response:
    return requests.post(f"http://{bench.stack.address(name)}/", timeout=5)


def test_one_replica_can_write_no_more_while_it_is_full(scribes: Bench) -> None:
    assert note(scribes, "app-1").status_code == 201
    with scribes.during("disk-fill: {on: app-1, at: 0s, for: 60s}"):
        refused = note(scribes, "app-1")
        assert refused.status_code == 507
        assert "No space left on device" in refused.text
        assert note(scribes, "app-2").status_code == 201
    assert note(scribes, "app-1").status_code == 201


def test_what_is_left_can_be_used(scribes: Bench) -> None:
    with scribes.during("disk-fill: {on: app, at: 0s, for: 60s, leave: 1MB}"):
        assert note(scribes, "app-1").status_code == 201


def test_a_stranger_takes_it_back_from_the_ledger(scribes: Bench) -> None:
    with scribes.during("disk-fill: {on: app-2, at: 0s, for: 60s}"):
        mark = next(one for one in ledger.read(scribes.ledger.path).undos if one.id == "fault-1:disk-fill")
        assert by_hand(mark.steps[0]).startswith("rm -f ")
        for step in (*mark.steps, *mark.steps):
            carry_out(step, Processes(scribes.processes.run_id, scribes.ledger))
        assert note(scribes, "app-2").status_code == 201


def test_every_arm_begins_with_an_empty_disk(scribes: Bench) -> None:
    assert note(scribes, "app-1").status_code == 201
    scribes.stack.reset()
    assert list(scribes.stack.disk("app-1").iterdir()) == []


def test_a_database_without_room_for_its_log_stops_and_comes_back(tmp_path: Path) -> None:
    shop = load_target(SHOP)
    server = shop.servers["postgres"].model_copy(update={"disk": 300e6})
    target = shop.model_copy(update={"servers": {**shop.servers, "postgres": server}})

    def buy(bench: Bench, key: str) -> int:
        headers = {"Idempotency-Key": key}
        body = {"product": 1}
        return requests.post(f"{bench.stack.url}/checkout", json=body, headers=headers, timeout=10).status_code

    with Bench(tmp_path / "run-full", target=target).booted() as bench:
        assert buy(bench, "before") == 201
        with bench.during("disk-fill: {on: postgres, at: 0s, for: 60s}"):
            assert wait_for(lambda: buy(bench, os.urandom(8).hex()) >= 500, timeout_s=20), "no room for a new row"
            bench.stack.check()
        assert wait_for(lambda: buy(bench, "after") in (200, 201), timeout_s=20)
        assert requests.get(f"{bench.stack.url}/orders/before", timeout=5).status_code == 200


@pytest.mark.parametrize("place", ["app-1", "postgres"])
def test_without_a_disk_of_its_own_it_is_refused(tmp_path: Path, place: str) -> None:
    bench = Bench(tmp_path / "run-none")
    with pytest.raises(ScenarioError, match="needs a place that has a disk of its own"):
        bench.plan(f"disk-fill: {{on: {place}, at: 0s, for: 9s}}")


def test_who_can_not_mount_is_told_so(scribes: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "may_mount", lambda: False)
    with pytest.raises(ScenarioError, match="only root can mount the small disk that it fills"):
        scribes.plan("disk-fill: {on: app, at: 0s, for: 9s}")
