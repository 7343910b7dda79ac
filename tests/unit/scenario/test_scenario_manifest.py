"""The target's manifest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.paths import shipped
from harness.plan import Plan
from harness.scenario.manifest import Target, load_target


@pytest.fixture
def target(folder: Path) -> Target:
    return load_target("shop", [folder / "targets"])


def test_it_is_found_by_name_folder_and_file(folder: Path) -> None:
    home = folder / "targets" / "shop"
    for way in (load_target("shop", [folder / "targets"]), load_target(home), load_target(str(home / "target.yaml"))):
        assert way.name == "shop"
        assert way.folder == home.resolve()


def test_an_unknown_name_shows_the_nearest(folder: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean `shop`"):
        load_target("shopp", [folder / "targets"])


def test_edges_and_protocols(target: Target) -> None:
    assert target.edges == (("app", "postgres"), ("app", "redis"), ("app", "auth"))
    assert target.edge_names == ("client->app", "app->postgres", "app->redis", "app->auth")
    assert [target.component_protocol(name) for name in target.components] == ["postgres", "redis", "http", "http"]
    with pytest.raises(KeyError):
        target.component_protocol("kafka")
    assert target.capabilities("redis") == {"process"}
    assert target.capabilities("app") == {"process", "replicas"}
    assert target.instances("app") == ("app-1", "app-2")
    assert target.instances("auth") == ("auth",)


def test_a_standby_is_a_capability_and_has_an_edge(folder: Path) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    text = manifest.read_text().replace("engine: postgres", "engine: postgres, standby: asynchronous", 1)
    manifest.write_text(text)
    target = load_target(manifest)
    assert target.capabilities("postgres") == {"process", "standby"}
    assert "postgres-standby->postgres" in target.edge_names
    manifest.write_text(text.replace("  auth:", "  postgres-standby:", 1))
    with pytest.raises(ScenarioError, match="the name of a standby"):
        load_target(manifest)


def test_settings_become_environment(target: Target) -> None:
    defaults = {"POOL_SIZE": "5", "POOL_WAIT_SECONDS": "30", "BREAKER": "0", "API_TOKEN": ""}
    assert target.environment("", {}) == defaults
    hardened = {**defaults, "POOL_WAIT_SECONDS": "0.25", "BREAKER": "1"}
    assert target.environment("hardened", {}) == hardened
    assert target.environment("hardened", {"pool_size": "07"}) == {**hardened, "POOL_SIZE": "7"}
    with pytest.raises(ValueError, match="whole number"):
        target.environment("", {"pool_size": "many"})


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("type: integer", "type: intager", 4, "did you mean `integer`"),
        ("default: 5,", "default: five,", 4, "expected a whole number, got `five`"),
        ("env: BREAKER", "env: POOL_SIZE", 6, "is the variable of pool_size"),
        ("env: BREAKER", "env: breaker", 6, "settings.breaker.env"),
        ("help: circuit breaker", "help: a, b", 6, "needs quotes"),
        ("pool_wait: 250ms", "pool_wiat: 250ms", 10, "did you mean `pool_wait`"),
        ("pool_wait: 250ms", "pool_wait: 250", 10, "without a unit"),
        ("engine: redis", "engine: rediss", 13, "did you mean `redis`"),
        ('"{target}/app.py"', '"{traget}/app.py"', 16, "did you mean `target`"),
        ('DB: "{app->postgres}"', 'DB: "{app->postgers}"', 18, "did you mean `app->postgres`"),
        ("[auth,", '[auth, "{app->redis}",', 21, "start at the process itself"),
        ("    management: true\n", "", 21, "management: true"),
        ('DB: "{postgres}"', 'DB: "{port}"', 26, "unknown placeholder"),
        ("ready: /readyz", "ready: readyz", 19, "processes.app.ready"),
        ("app->auth]", "app->ath]", 24, "did you mean `auth`"),
        ("app->auth]", "app->redis]", 24, "twice"),
        ("app->auth]", "app]", 24, "expected an edge"),
        ("entry: app", "entry: redis", 25, "no process `redis`"),
        ("product: [app, redis, ", "product: [app, rediz, ", 29, "did you mean `redis`"),
        ("app: [postgres, redis", "appp: [postgres, redis", 32, "did you mean `app`"),
        ("threads: [catalog", "threads: [catalogue", 34, "no endpoint `catalogue`"),
        ("  auth:", "  redis:", 20, "is a server already"),
        ("  auth:", "  client:", 20, "taken by the harness"),
        ("engine: redis", "engine: redis, standby: synchronous", 13, "only postgres can have one"),
        ("engine: redis", "engine: redis, standby: sync", 13, "allowed: asynchronous, synchronous"),
        ("replicas: 2", "replicas: 0", 17, "at least 1"),
        ("name: shop\n", "", 1, "is missing"),
        ("entry: app", "entry: app\nowner: me", 26, "unknown key"),
        ("engine: redis", "engine: redis, url: http://127.0.0.1", 13, "got one with `http://`"),
        ("engine: redis", "engine: redis, url: postgresql://127.0.0.1", 13, "is no URL of a redis server"),
        ('command: [auth, "{port}", "{management_port}"]', "url: http://127.0.0.1:1", 21, "this one runs already"),
        ('command: [auth, "{port}", "{management_port}"]', "url: https://127.0.0.1", 21, "certificates"),
        ('    command: [auth, "{port}", "{management_port}"]\n', "", 21, "needs a `command`, or the `url`"),
        ('DB: "{postgres}"', 'DB: "{postgres.uri}"', 26, "did you mean `postgres.url`"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder: Path, old: str, new: str, line: int, said: str) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        load_target(manifest)
    assert caught.value.line == line
    assert said in str(caught.value)


def test_the_shipped_target_is_right() -> None:
    target = load_target("sample-flask-app", [shipped("targets")])
    assert {"fragile", "hardened"} <= set(target.presets)
    assert ("app", "postgres") in target.edges
    assert {"catalog", "checkout", "product"} <= set(target.dependencies)


AUDIT = 'audit: {endpoint: checkout, key: Idempotency-Key, command: [find], environment: {DB: "{app->postgres.url}"}}\n'


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("checkout", "chekout", "did you mean `checkout`"),
        ("Idempotency-Key", "Idempotency Key", "audit.key"),
        ("app->postgres.url", "app->auth.url", "unknown placeholder `{app->auth.url}`"),
        ("app->postgres.url", "port", "unknown placeholder `{port}`"),
        ("command: [find], ", "", "audit.command"),
    ],
)
def test_an_audit_says_whose_answers_count_and_who_looks(folder: Path, wrong: str, right: str, said: str) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    plain = manifest.read_text()
    manifest.write_text(plain + AUDIT)
    audit = load_target(manifest).audit
    assert audit is not None
    assert (audit.endpoint, audit.key, audit.command) == ("checkout", "Idempotency-Key", ("find",))
    manifest.write_text(plain + AUDIT.replace(wrong, right))
    with pytest.raises(ScenarioError) as caught:
        load_target(manifest)
    assert said in str(caught.value)
    assert f"target.yaml:{len(plain.splitlines()) + 1}" in str(caught.value)


def test_nothing_can_be_expected_of_writes_that_nobody_looks_up(plan_with: Callable[..., Plan], folder: Path) -> None:
    asked = ("- no cascade", "- no acknowledged write is lost or doubled")
    with pytest.raises(ScenarioError, match=r"expect\[1\].*shop has no `audit` in its target.yaml"):
        plan_with(asked)
    manifest = folder / "targets" / "shop" / "target.yaml"
    manifest.write_text(manifest.read_text() + AUDIT)
    assert plan_with(asked).expect[1] == "no acknowledged write is lost or doubled"
