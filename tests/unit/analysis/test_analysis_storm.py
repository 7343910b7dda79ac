"""Clients that retry at once beside, or without, something that is broken."""

import json

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.analysis.experiment import find_experiments
from harness.record.reader import read

STORM = {
    "id": "retry-storm",
    "kind": "retry-storm",
    "component": "app",
    "edge": "client->app",
    "at_s": 15,
    "for_s": 10,
    "params": {"retries": 3, "endpoints": "checkout, cart"},
}


@pytest.fixture
def folder(tmp_path):
    """A record of a broken Redis with a storm of retries at the same time."""
    folder = build_record(
        tmp_path / "run",
        seconds=40,
        rate=100,
        fault_window=(15.0, 25.0),
        endpoints=("catalog", "checkout"),
        dependencies={"catalog": ["app"], "checkout": ["app", "redis"]},
        faulted="redis",
        fault_error=0.5,
    )
    info = json.loads((folder / "run.json").read_text())
    info["faults"].append(STORM)
    (folder / "run.json").write_text(json.dumps(info))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    of_storm = {"fault": "retry-storm", "component": "app", "edge": "client->app"}
    events += [{**one, **of_storm} for one in events if one.get("fault") == "redis-down"]
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    return folder


def broken(folder):
    (experiment,) = find_experiments(read(folder, integrity=False), None)
    return experiment.window.components


def test_what_clients_overload_beside_a_broken_part_has_spread(folder):
    assert broken(folder) == ("redis",)
    cascade = analyse(read(folder, integrity=False)).cascade
    assert cascade.klass == "cascading"
    assert "catalog" in next(one for one in cascade.evidence if one.criterion == "C1").text


def test_a_storm_alone_hits_what_clients_talk_to(folder):
    events = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(line for line in events if "redis-down" not in line))
    assert broken(folder) == ("app",)


def test_a_storm_counts_among_what_retries_allow(folder):
    factors = analyse(read(folder, integrity=False)).cascade.factors
    ceilings = {one.endpoint: one.ceiling for one in factors if one.caller == "client"}
    assert ceilings == {"catalog": 1.0, "checkout": 4.0}
