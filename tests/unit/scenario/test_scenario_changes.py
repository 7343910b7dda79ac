"""Servers and processes that a scenario wants otherwise than the target's manifest has them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness.errors import ScenarioError
from harness.plan import Plan
from harness.scenario.describe import describe, timeline_text
from harness.scenario.existing import Existing
from harness.scenario.resolve import target_of
from harness.scenario.schema import scenario_schema

Planner = Callable[..., Plan]
VARIANTS = """\
variants:
  plain: {}
  hardened: {servers: {postgres: {standby: synchronous}}, processes: {app: {replicas: 4}}}
load:"""


def wanting(*lines: str) -> tuple[str, str]:
    return "target: shop", "\n".join(("target: shop", *lines))


def test_the_target_is_as_the_scenario_wants_it(plan_with: Planner) -> None:
    plan = plan_with(
        wanting("servers: {redis: {sentinel: true, down_after: 500ms}, postgres: {standby: asynchronous}}"),
        ("load:", VARIANTS),
        ("redis-down: {", "kill: {on: app, "),
    )
    target = target_of(plan)
    assert target.servers["postgres"].standby == "synchronous", "a variant's word counts more"
    assert target.servers["redis"].sentinel, "what a variant does not mention stays"
    assert target.down_after_s("redis") == 0.5
    assert "postgres-standby->postgres" in target.edge_names
    assert target.capabilities("redis") == {"process", "sentinel"}
    assert target.instances("app") == ("app-1", "app-2", "app-3", "app-4")
    assert target.servers["redis"].engine == "redis", "the rest is the manifest's"
    shown = describe(plan, target)["changes"]
    assert shown == {
        "redis": {"sentinel": "true", "down_after": "500ms"},
        "postgres": {"standby": "synchronous"},
        "app": {"replicas": "4"},
    }
    assert "  postgres: standby synchronous\n" in timeline_text(plan, target)


def test_faults_meet_the_changed_target(plan_with: Planner) -> None:
    there = ("redis-down: {", "kill: {on: app-3, ")
    with pytest.raises(ScenarioError, match="no component `app-3`"):
        plan_with(there)
    plan = plan_with(there, wanting("processes: {app: {replicas: 3}}"))
    assert plan.faults[0].component == "app"


def test_a_variant_takes_back_what_the_scenario_wants(plan_with: Planner) -> None:
    common = wanting("servers: {postgres: {standby: synchronous}}")
    variants = ("load:", "variants: {hardened: {servers: {postgres: {standby: none}}}}\nload:")
    assert target_of(plan_with(common)).standbys == {"postgres": "postgres-standby"}
    assert target_of(plan_with(common, variants)).standbys == {}


def test_the_command_line_has_the_last_word(plan_with: Planner) -> None:
    plan = plan_with(("load:", VARIANTS), overrides=["servers.postgres.standby=none", "processes.app.replicas=3"])
    target = target_of(plan)
    assert not target.standbys
    assert target.processes["app"].replicas == 3


def test_a_wrong_name_on_the_command_line_is_said_to_be_there(plan_with: Planner) -> None:
    with pytest.raises(
        ScenarioError, match=r"--set servers\.postgers\.standby=none: servers\.postgers: the target has"
    ):
        plan_with(overrides=["servers.postgers.standby=none"])


def test_regions_share_out_the_replicas_that_the_scenario_wants(plan_with: Planner) -> None:
    wishes = wanting("regions: [east, west]", "servers: {redis: {sentinel: true}}", "processes: {app: {replicas: 4}}")
    target = target_of(plan_with(wishes, ("redis-down: {", "redis-down: {on: redis-west, ")))
    assert target.instances("app") == ("app-east-1", "app-east-2", "app-west-1", "app-west-2")
    assert "sentinel" in target.capabilities("redis-east") & target.capabilities("redis-west")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("servers: {redis: {standby: synchronous}}", "4:28: servers.redis.standby: only postgres can have one"),
        ("servers: {postgres: {sentinel: true}}", "4:32: servers.postgres.sentinel: sentinels watch over Redis only"),
        ("servers: {postgres: {standby: synchronous, disk: 90MB}}", "servers.postgres.disk: `disk` is for a postgres"),
        ("servers: {postgers: {standby: synchronous}}", "4:11: servers.postgers: the target has no server `postgers`"),
        ("servers: {redis: {down-after: 1s}}", "4:19: servers.redis.down-after: unknown key\n  did you mean `down_af"),
        ("servers: {redis: {engine: postgres}}", "4:19: servers.redis.engine: unknown key"),
        ("servers: {postgres: {standby: sync}}", "4:31: servers.postgres.standby: expected one of the allowed words"),
        ("processes: {redis: {replicas: 2}}", "4:13: processes.redis: the target has no process `redis`"),
        ("processes: {app: {replicas: 0}}", "4:29: processes.app.replicas: must be at least 1"),
        ("processes: {app: {ready: /}}", "4:19: processes.app.ready: unknown key"),
    ],
)
def test_what_the_manifest_could_not_say_is_refused_at_its_line(plan_with: Planner, change: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_with(wanting(change))
    assert said in str(caught.value)


def test_a_variant_that_does_not_run_is_checked_too(plan_with: Planner) -> None:
    other = "variants: {hardened: {}, odd: {servers: {redis: {standby: synchronous}}}}\nload:"
    with pytest.raises(ScenarioError, match=r"5:59: variants\.odd\.servers\.redis\.standby: only postgres"):
        plan_with(("load:", other))


def test_a_standby_needs_a_name_that_is_free(folder: Path, plan_with: Planner) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    manifest.write_text(manifest.read_text().replace("auth", "postgres-standby"))
    with pytest.raises(ScenarioError, match=r"servers\.postgres\.standby: `postgres-standby` would be the name of"):
        plan_with(wanting("servers: {postgres: {standby: asynchronous}}"))


def test_what_runs_already_is_as_it_is(folder: Path, plan_with: Planner) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    manifest.write_text(manifest.read_text().replace("{app->redis}", "{app->redis.url}"))
    existing = Existing.of(None, None, "redis://127.0.0.1:1/0", None, "keep")
    where = ("redis-down: {", "latency: {on: app->redis, latency: 10ms, ")
    plan_with(where, wanting("servers: {postgres: {standby: asynchronous}}"), existing=existing)
    with pytest.raises(ScenarioError, match=r"4:11: servers\.redis: has no effect on redis, which runs already"):
        plan_with(where, wanting("servers: {redis: {sentinel: true}}"), existing=existing)


def test_the_schema_knows_what_may_be_changed() -> None:
    check = Draft202012Validator(scenario_schema({})["properties"]["servers"] | {"$defs": scenario_schema({})["$defs"]})
    assert check.is_valid({"redis": {"sentinel": True, "down_after": "500ms"}, "postgres": {"standby": "none"}})
    assert not check.is_valid({"redis": {"engine": "redis"}})
    assert not check.is_valid({"postgres": {"standby": "sometimes"}})
