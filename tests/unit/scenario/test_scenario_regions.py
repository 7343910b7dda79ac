"""A target in several regions: the same parts in each, one entry, and nothing in between."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.plan import Plan
from harness.scenario.manifest import Target, load_target
from harness.scenario.regions import spread

Planner = Callable[..., Plan]
REGIONS = ("target: shop", "target: shop\nregions: [east, west]")


@pytest.fixture
def target(folder: Path) -> Target:
    return load_target(folder / "targets" / "shop")


@pytest.fixture
def regional(target: Target) -> Target:
    return spread(target, ("east", "west"))


def test_each_region_has_all_parts_and_its_share_of_the_replicas(regional: Target) -> None:
    assert regional.in_region("east") == ("postgres-east", "redis-east", "app-east", "auth-east")
    assert regional.entries == ("app-east", "app-west")
    assert regional.instances("app") == ("app-east-1", "app-west-1")
    assert regional.instances("auth-west") == ("auth-west",)
    assert regional.component_of("app-west-1") == "app-west"
    assert regional.region_of("redis-west") == "west"
    assert regional.component_protocol("app") == regional.component_protocol("app-west") == "http"


def test_edges_stay_in_their_region(regional: Target) -> None:
    assert regional.edge_names[0] == "client->app"
    assert "app-east->redis-east" in regional.edge_names
    assert all(one.endswith("east") == other.endswith("east") for one, other in regional.edges)


def test_an_endpoint_depends_on_what_it_needs_in_every_region(regional: Target) -> None:
    assert regional.dependencies["catalog"] == ("app", "app-east", "app-west")
    assert set(regional.dependencies["checkout"]) == {
        "app",
        *("app-east", "app-west"),
        *("postgres-east", "postgres-west"),
    }
    assert regional.component_dependencies["app"] == ("app-east", "app-west")
    assert regional.component_dependencies["app-west"] == ("postgres-west", "redis-west", "auth-west")


def test_without_regions_nothing_changes(target: Target) -> None:
    assert spread(target, ()) is target
    assert target.entries == ("app",)
    assert target.region_of("app") == ""


def test_a_scenario_names_its_regions(plan_with: Planner) -> None:
    plan = plan_with(REGIONS, ("redis-down: {", "redis-down: {on: redis-west, "))
    assert plan.faults[0].component == "redis-west"
    assert plan.scenario["regions"] == ["east", "west"]


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ("regions: [east]", "outage.yaml:4:10: regions: one region is no region"),
        ("regions: [east, east]", "outage.yaml:4:17: regions[1]: `east` is there twice"),
        ("regions: [East, west]", "outage.yaml:4:11: regions[0]"),
        ("regions: [east, west]", "no component `redis`\n  did you mean `redis-"),
    ],
)
def test_what_is_wrong_with_regions_is_said(plan_with: Planner, regions: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_with(("target: shop", f"target: shop\n{regions}"))
    assert said in str(caught.value)
