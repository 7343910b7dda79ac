"""What a scenario permits itself is checked when it is planned, and shown."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from harness import experiment, run
from harness.allowed import Hours, Window, open_until
from harness.errors import ScenarioError
from harness.experiment import Planned
from harness.faults.catalogue import catalogue as shipped_catalogue
from harness.plan import Plan
from harness.scenario.describe import describe, timeline_text
from harness.scenario.manifest import load_target
from harness.scenario.schema import scenario_schema
from harness.scenario.source import read_bytes

Planner = Callable[..., Plan]
LATENCY = "latency: {on: app->postgres, latency: 150ms, at: spike + 5s, for: 10s}"
REDIS = "redis-down: {at: spike + 5s, for: 10s}"


def limits(text: str) -> tuple[str, str]:
    return "expect:\n", f"{text}\nexpect:\n"


def test_faults_within_the_blast_radius_pass(plan_with: Planner) -> None:
    assert plan_with(limits("blast-radius: {only: [redis]}"))
    assert plan_with((REDIS, LATENCY), limits("blast-radius: {only: [app -> postgres]}"))
    assert plan_with((REDIS, LATENCY), limits("blast-radius: {only: [postgres]}"))


def test_a_fault_outside_it_is_refused_with_its_line(plan_with: Planner) -> None:
    with pytest.raises(ScenarioError, match="touches `redis`, which is not in the blast radius") as refused:
        plan_with(limits("blast-radius: {only: [app->redis, postgres]}"))
    assert refused.value.line == 11
    assert "app->redis, postgres" in refused.value.remedy
    with pytest.raises(ScenarioError, match="touches `app->postgres`"):
        plan_with((REDIS, LATENCY), limits("blast-radius: {only: [redis, app]}"))


def test_every_place_that_a_fault_names_has_to_be_inside(plan_with: Planner) -> None:
    both = (REDIS, "kill: {on: [app-1, app-2], at: spike + 5s, for: 10s}")
    assert plan_with(both, limits("blast-radius: {only: [app]}"))
    with pytest.raises(ScenarioError, match="touches `app-1`"):
        plan_with(both, limits("blast-radius: {only: [redis]}"))


def test_replicas_out_at_the_same_time_are_counted_over_all_faults(plan_with: Planner) -> None:
    one, other = "kill: {on: app-1, at: spike + 5s, for: 10s}", "kill: {on: app-2, at: spike + %s, for: 5s}"
    allowed = limits("blast-radius: {replicas: 1}")
    assert plan_with((REDIS, one), allowed)
    assert plan_with((REDIS, f"{one}\n  - {other % '15s'}"), allowed), "one after the other"
    assert plan_with((REDIS, f"{one}\n  - {other % '9s'}"), limits("blast-radius: {replicas: 2}"))
    with pytest.raises(
        ScenarioError, match="takes 2 processes of `app` out at the same time, together with `kill`"
    ) as no:
        plan_with((REDIS, f"{one}\n  - {other % '9s'}"), allowed)
    assert no.value.line == 12
    assert "`blast-radius: replicas` allows 1" in no.value.remedy


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("blast-radius: {only: [rediss]}", 12, "did you mean `redis`"),
        ("blast-radius: {only: []}", 12, "needs more entries"),
        ("blast-radius: {olny: [redis]}", 12, "did you mean `only`"),
        ("allowed: weekdays", 12, "or `any`, got `weekdays`"),
        ("allowed: {days: mon-fry, hours: 09:00-17:00, timezone: UTC}", 12, "did you mean `fri`?"),
        ("allowed:\n  days: mon-fri\n  hours: 9-17\n  timezone: UTC", 14, "allowed.hours: expected hours"),
        ("allowed: {days: mon-fri, hours: 09:00-17:00}", 12, "timezone: is missing"),
        ("allowed: {days: mon, hours: 09:00-17:00, timezone: Berlin}", 12, "did you mean `Europe/Berlin`"),
        ("allowed: [{day: mon, hours: 09:00-17:00, timezone: UTC}]", 12, "did you mean `days`"),
        ("allowed: {days: mon, hours: 09:00-09:01, timezone: UTC}", 12, "longer than any time that is allowed"),
    ],
)
def test_mistakes_are_told_with_line_and_remedy(plan_with: Planner, text: str, line: int, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        plan_with(limits(text))
    assert said in str(refused.value)
    assert refused.value.line == line


def test_times_reach_the_plan_and_can_be_overridden(plan_with: Planner) -> None:
    text = limits("allowed: {days: mon-fri, hours: 09:00-17:00, timezone: Europe/Berlin}")
    plan = plan_with(text)
    assert plan.allowed == (Window((0, 1, 2, 3, 4), Hours(540, 1020), "Europe/Berlin"),)
    over = plan_with(text, overrides=["allowed=any"])
    assert over.allowed == ()
    assert over.scenario["allowed"] == "any", "the record says so"


def closed_now() -> str:
    """An hour that is not now, on any day."""
    hour = (datetime.now(UTC).hour + 12) % 24
    return f"allowed: {{days: mon-sun, hours: {hour:02}:00-{(hour + 1) % 24:02}:00, timezone: UTC}}"


def test_the_plan_shows_both(plan_with: Planner, folder: Path) -> None:
    target = load_target(folder / "targets" / "shop")
    plan = plan_with(limits(closed_now() + "\nblast-radius: {only: [redis]}"))
    data = json.loads(json.dumps(describe(plan, target)))
    assert data["blast_radius"] == {"only": ["redis"]}
    assert data["allowed"]["now"] is False
    begin = datetime.fromisoformat(data["allowed"]["next_start"])
    assert open_until(plan.allowed, begin) is not None
    text = timeline_text(plan, target)
    assert "faults may touch only redis" in text
    assert f"it may start {begin:%a %Y-%m-%d %H:%M} UTC" in text
    always = plan_with(limits("allowed: {days: mon-sun, hours: 00:00-24:00, timezone: UTC}"))
    assert "it may start now" in timeline_text(always, target)


def test_a_run_outside_its_time_starts_nothing(plan_with: Planner, folder: Path, tmp_path: Path) -> None:
    plan = plan_with(limits(closed_now()))
    target = load_target(folder / "targets" / "shop")
    results = tmp_path / "results"
    with pytest.raises(ScenarioError, match="may not run now"):
        run.conduct(plan, target, results=results, display=None)  # type: ignore[arg-type]
    assert not results.exists()
    with pytest.raises(ScenarioError, match="may not run now"):
        experiment.refuse_bad_times([Planned(plan_with(), target), Planned(plan, target)])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("{days: mon-fri, hours: 09:00-17:00, timezone: Europe/Berlin}", True),
        ('[{days: "sat, sun", hours: 22:00-6:00, timezone: UTC}]', True),
        ("any", True),
        ("always", False),
        ("{days: mon-fri, hours: nine to five, timezone: UTC}", False),
        ("{days: mon-fri, hours: 09:00-17:00}", False),
    ],
)
def test_the_schema_agrees(text: str, right: bool) -> None:
    schema = scenario_schema(shipped_catalogue())
    part = {**schema["properties"]["allowed"], "$defs": schema["$defs"]}
    value = read_bytes(f"allowed: {text}".encode(), Path("x.yaml")).data["allowed"]
    assert jsonschema.Draft202012Validator(part).is_valid(value) is right
