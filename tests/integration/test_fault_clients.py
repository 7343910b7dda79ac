"""A retry storm in real load workers: in its time every failure is sent again at once, else as the scenario says."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from load_hosts import site
from load_servers import Server, Wire, make_load, make_specs, read_rows, respond, steady, worker_env

from harness.clock import NS, now_ns
from harness.errors import ScenarioError
from harness.faults.catalogue import catalogue
from harness.faults.timeline import FaultTimeline
from harness.ledger import Ledger, mark_of
from harness.load.workers import LoadWorkers
from harness.plan import Phase, PlannedFault
from harness.probes import wait_for
from harness.processes import Processes
from harness.scenario.injections import plan_faults
from harness.scenario.manifest import load_target
from harness.scenario.models import FaultEntry
from harness.scenario.source import read_bytes

USERS = """
    from locust import task
    from harness.load.user import OpenHttpUser

    class Shopper(OpenHttpUser):
        @task
        def catalog(self):
            self.client.get("/catalog", name="catalog")
        @task
        def cart(self):
            self.client.get("/cart", name="cart")
"""


def always_busy(wire: Wire, server: Server) -> None:
    while True:
        server.request(wire)
        wire.send(respond(503))


def storm(*, at_s: float, for_s: float, retries: int = 2, endpoints: str | None = "catalog") -> PlannedFault:
    params = {"retries": retries, "endpoints": endpoints}
    return PlannedFault("retry-storm", "retry-storm", at_s, for_s, params, "app", "client->app")


class Storm:
    """A storm over workers that have begun, and what is told of it."""

    def __init__(self, folder: Path, planned: PlannedFault, workers: LoadWorkers) -> None:
        ledger = Ledger(folder / "ledger.jsonl")
        ledger.run("storm", mark_of(os.getpid(), "test", signal.SIGTERM))
        self.events: list[dict] = []
        self.timeline = FaultTimeline(
            (planned,),
            arm="fault-1",
            stack=object(),
            processes=Processes("storm", ledger),
            ledger=ledger,
            on_event=lambda kind, **fields: self.events.append({"kind": kind, **fields}),
            clients=workers,
        )

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["kind"] == kind]


@contextmanager
def begun(folder: Path, load, host: str, *, remote: bool) -> Iterator[tuple[LoadWorkers, int]]:
    if remote:
        with site(folder, load, 2) as here:
            yield here.begin(make_specs(folder, load, host))
        return
    workers = LoadWorkers(make_specs(folder, load, host), env=worker_env())
    workers.start()
    try:
        workers.wait_ready(30)
        t0_ns = now_ns() + workers.lead_ns
        workers.go(t0_ns)
        yield workers, t0_ns
    finally:
        workers.kill()


@pytest.mark.parametrize("remote", [False, True], ids=["here", "hosts"])
def test_workers_begin_and_end_it_at_its_instants_by_their_own_clocks(tmp_path, remote):
    load = make_load(tmp_path, USERS, steady(100, 5.0), workers=2, users=20)
    planned = storm(at_s=1.5, for_s=2.0)
    with Server(always_busy) as server, begun(tmp_path, load, server.host, remote=remote) as (workers, t0_ns):
        told = Storm(tmp_path, planned, workers)
        told.timeline.start(t0_ns)
        results = workers.wait(30)
        told.timeline.finish()
    assert told.timeline.errors == ()
    assert [event["kind"] for event in told.events if event["kind"] != "probe"] == [
        "fault.requested",
        "fault.active",
        "fault.clear-requested",
        "fault.clear",
    ]
    first, last = told.of("probe")
    assert first["attempts_per_failed_arrival"] > 1
    assert last["attempts_per_failed_arrival"] == pytest.approx(3, abs=0.3), "two retries each"

    retried = 0
    for result in results:
        rows = read_rows(result.spool)
        followed = {(int(row["first_local"]), int(row["attempt"]) - 1): row for row in rows.data if row["attempt"]}
        for row, name in zip(rows.data, rows.endpoints, strict=True):
            in_it = 1.5 * NS <= row["end_ns"] < 3.5 * NS
            after = followed.get((int(row["first_local"]), int(row["attempt"])))
            if row["end_ns"] < 4.9 * NS:
                assert (after is not None) == (name == "catalog" and in_it and row["attempt"] < 2), row
            if after is not None:
                assert after["intended_ns"] == row["end_ns"], "at once"
                retried += 1
    assert retried > 100


def test_a_storm_that_is_cut_short_is_over_before_its_time(tmp_path):
    load = make_load(tmp_path, USERS, steady(100, 60.0), workers=1, users=20)
    with Server(always_busy) as server, begun(tmp_path, load, server.host, remote=False) as (workers, t0_ns):
        told = Storm(tmp_path, storm(at_s=0.0, for_s=50.0, endpoints=None), workers)
        told.timeline.start(t0_ns)
        assert wait_for(lambda: bool(told.of("probe")), timeout_s=20)
        told.timeline.revert_now()
        assert told.timeline.errors == ()
        assert told.timeline.states == {"retry-storm": "clear"}
        before = workers.storm_report()
        assert before.retries > 0
        reports = len(workers.health()["load-worker-1"])
        assert wait_for(lambda: len(workers.health()["load-worker-1"]) > reports + 1, timeout_s=20)
        assert workers.storm_report().failed == before.failed, "failures are the scenario's business again"


def plan(*entries: str) -> tuple[PlannedFault, ...]:
    document = read_bytes(("faults:\n" + "".join(f"  - {one}\n" for one in entries)).encode(), Path("faults.yaml"))
    found = [FaultEntry.model_validate(one) for one in document.data["faults"]]
    phases = (Phase("warm-up", -1.0, 0.0, 1.0), Phase("steady", 0.0, 600.0, 1.0))
    return plan_faults(
        found, catalogue(), load_target("sample-flask-app", [Path(__file__).parents[2] / "targets"]), phases, document
    )


def test_it_goes_with_every_fault_of_the_stack_and_with_no_other_storm():
    at = "at: 0s, for: 60s"
    both = plan(f"retry-storm: {{{at}}}", f"latency: {{on: client->app, {at}, latency: 1s}}")
    assert both[0].where == ("client->app",)
    with pytest.raises(ScenarioError, match="only one of the two"):
        plan(f"retry-storm: {{{at}}}", f"retry-storm: {{{at}, endpoints: checkout}}")
    with pytest.raises(ScenarioError, match=r"no endpoint `chekout`.*`checkout`"):
        plan(f"retry-storm: {{{at}, endpoints: 'catalog, chekout'}}")
    with pytest.raises(ScenarioError, match="is about the clients"):
        plan(f"retry-storm: {{on: app, {at}}}")
    with pytest.raises(ScenarioError, match="20 at most"):
        plan(f"retry-storm: {{{at}, retries: 99}}")
