"""What `harness plan` shows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.plan import Plan, PlannedFault
from harness.scenario.describe import blast_radius, describe, timeline_text
from harness.scenario.manifest import Target, load_target


@pytest.fixture
def target(folder: Path) -> Target:
    return load_target(folder / "targets" / "shop")


def _fault(component: str, edge: str = "") -> PlannedFault:
    return PlannedFault("x", "x", 1.0, 1.0, {}, component, edge)


def test_the_blast_radius_is_what_is_declared(target: Target) -> None:
    assert blast_radius(_fault("redis"), target) == {
        "components": ["app", "redis"],
        "endpoints": ["product"],
        "may_spread_to": ["catalog", "checkout"],
    }
    assert blast_radius(_fault("postgres", "app->postgres"), target) == {
        "components": ["app"],
        "endpoints": ["checkout", "product"],
        "may_spread_to": ["catalog"],
    }
    assert blast_radius(_fault("auth", "app->auth"), target)["endpoints"] == []
    assert blast_radius(_fault("app", "client->app"), target)["endpoints"] == ["catalog", "checkout", "product"]


def test_the_description_is_json_and_adds_up(plan_with: Callable[..., Plan], target: Target) -> None:
    plan = plan_with(repeat=2)
    data = json.loads(json.dumps(describe(plan, target), allow_nan=False))
    assert [phase["arrivals"] for phase in data["phases"]] == [500, 1000, 2570, 1000]
    assert data["faults"][0]["phase"] == "spike"
    assert data["faults"][0]["end_s"] == 30.0
    assert data["touches"] == ["redis"]
    assert data["duration_s"]["arms"] == 180.0
    assert data["duration_s"]["estimate"] > 180.0
    assert data["seed"] == 7


def test_the_text_shows_the_fault_under_its_phase(plan_with: Callable[..., Plan], target: Target) -> None:
    lines = timeline_text(plan_with(), target).splitlines()
    axis = next(line for line in lines if "|spike" in line)
    bar = next(line for line in lines if "#" in line)
    assert axis.index("|spike") < bar.index("#") < bar.rindex("#") < axis.index("|recovery")
    text = "\n".join(lines)
    for said in ("redis-down on redis: 20s to 30s", "130/s", "no cascade", "seed  7", "baseline-1 fault-1", "product"):
        assert said in text


def test_the_closed_model_is_named_with_what_it_hides(plan_with: Callable[..., Plan], target: Target) -> None:
    plan = plan_with(("rate: 100/s", "model: closed\n  concurrency: 50"), ("rate: +30%", "concurrency: +30%"))
    data = describe(plan, target)
    assert data["load"]["model"] == "closed"
    assert {phase["arrivals"] for phase in data["phases"]} == {None}
    text = timeline_text(plan, target)
    for said in ("65 users", "closed model: at most 65 users", "coordinated omission", "metastable failure"):
        assert said in text
    assert "arrivals" not in text


def test_sines_and_traces_are_shown_with_their_phase(
    plan_with: Callable[..., Plan], target: Target, folder: Path
) -> None:
    (folder / "friday.csv").write_text("".join(f"{k / 10}\n" for k in range(300)))
    plan = plan_with(
        ("{steady: 10s}", "{steady: 10s, sine: 20%, period: 5s}"),
        ("rate: +30%, ramp: 2s", "trace: friday.csv, from: 5s, speed: 120%, rate: +50%"),
    )
    data = json.loads(json.dumps(describe(plan, target), allow_nan=False))
    assert [phase["arrivals"] for phase in data["phases"]] == [500, 1000, 359, 1000]
    assert data["load"]["waves"][0]["amplitude"] == 20.0
    assert data["load"]["traces"][0]["sha256"] == plan.load.traces[0].sha256
    text = timeline_text(plan, target)
    assert "1000 arrivals, sine of 20/s up and down every 5s\n" in text
    assert "359 arrivals, friday.csv from 5s on at 120% speed, 150% of its arrivals\n" in text
