"""What runs already takes the place of what would be started; what that rules out is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.paths import shipped
from harness.plan import Plan
from harness.scenario.existing import Existing, with_existing
from harness.scenario.locations import Location
from harness.scenario.manifest import Target, load_target

SHOP = shipped("targets") / "sample-flask-app"
APP = "http://127.0.0.1:8000"
POSTGRES = "postgresql://me:pw@127.0.0.1/shop"
REDIS = "redis://localhost:6380/3"


def existing(**named: str) -> Existing:
    given: dict[str, str | None] = {"target": None, "postgres": None, "redis": None, "toxiproxy": None, "data": None}
    return Existing.of(**(given | named))


def use(hosts: tuple[str, ...] = (), **named: str) -> Target:
    return with_existing(load_target(SHOP), existing(**named), hosts)


@pytest.mark.parametrize(
    ("url", "shown", "proxied"),
    [
        ("http://shop/api?x=1", "http://shop:80/api", "http://127.0.0.1:9/api?x=1"),
        ("postgres://me@[::1]/db", "postgresql://me@[::1]:5432/db", "postgresql://me@127.0.0.1:9/db"),
        ("redis://:p@h:1/2", "redis://:***@h:1/2", "redis://:p@127.0.0.1:9/2"),
        ("postgresql://a:b@h/d?password=c", "postgresql://a:***@h:5432/d", "postgresql://a:b@127.0.0.1:9/d?password=c"),
    ],
)
def test_a_url_keeps_everything_by_way_of_a_proxy_and_shows_no_password(url: str, shown: str, proxied: str) -> None:
    location = Location.parse(url)
    assert (str(location), location.at("127.0.0.1:9")) == (shown, proxied)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://shop", "certificates are not for the proxy"),
        ("shop:80", "expected a URL such as `http://127.0.0.1:8000`"),
        ("ftp://shop", "got one with `ftp://`"),
        ("http://", "names no host"),
        ("http://a:secret@h:port", "the port of `http://h:port` is none"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, said: str) -> None:
    with pytest.raises(ScenarioError, match="--target") as caught:
        existing(target=url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_loopback_is_known_without_asking_anybody() -> None:
    near = ("http://127.9.9.9", "http://[::1]:1", "http://localhost")
    far = ("http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0")
    assert all(Location.parse(url).is_loopback for url in near)
    assert not any(Location.parse(url).is_loopback for url in far)


def test_an_app_that_runs_already_can_only_be_reached_from_its_clients_side() -> None:
    target = use(target=APP)
    assert target.proxied_edges == ("client->app",)
    assert not any(target.capabilities(name) for name in target.components)
    assert not target.resets
    assert target.existing["app"] == APP
    assert use(target=APP, toxiproxy="localhost:8474").proxied_edges == target.edge_names


def test_servers_that_run_already_cannot_be_killed_and_everything_else_stays() -> None:
    target = use(redis=REDIS, data="keep")
    assert target.proxied_edges == target.edge_names
    assert not target.capabilities("redis")
    assert target.capabilities("postgres") == {"process"}
    assert target.existing == {"redis": REDIS}


def test_data_is_reset_only_when_that_was_said() -> None:
    assert load_target(SHOP).resets
    with pytest.raises(ScenarioError, match="would be run on postgres and redis, whose data"):
        use(postgres=POSTGRES, redis=REDIS)
    assert use(postgres=POSTGRES, data="reset").resets
    assert not use(postgres=POSTGRES, data="keep").resets
    with pytest.raises(ScenarioError, match="the reset command needs redis, and nobody has said where"):
        use(target=APP, postgres=POSTGRES, data="reset")
    assert use(target=APP, postgres=POSTGRES, redis=REDIS, data="reset").resets


@pytest.mark.parametrize(
    "named",
    [
        {"target": "http://shop.example.com"},
        {"redis": "redis://shop.example.com", "data": "keep"},
        {"toxiproxy": "shop.example.com:8474"},
    ],
)
def test_another_machine_has_to_be_listed(named: dict[str, str]) -> None:
    with pytest.raises(ScenarioError, match=r"hosts: \[shop.example.com\]"):
        use(**named)
    assert use(("Shop.example.com",), **named).existing


def test_a_server_that_the_target_does_not_have_or_has_twice(folder: Path) -> None:
    shop = folder / "targets" / "shop"
    manifest = (shop / "target.yaml").read_text()
    (shop / "target.yaml").write_text(manifest.replace("{engine: redis}", "{engine: postgres}"))
    for named, said in (({"redis": REDIS}, "has none"), ({"postgres": POSTGRES}, "has 2: postgres, redis")):
        with pytest.raises(ScenarioError, match=said):
            with_existing(load_target(shop), existing(**named, data="keep"))


def test_a_manifest_that_would_leave_out_login_and_database(folder: Path) -> None:
    shop = folder / "targets" / "shop"
    with pytest.raises(ScenarioError, match=r"with `{app->redis}`.*redis://localhost:6380/3 would be left out"):
        with_existing(load_target(shop), existing(redis=REDIS, data="keep"))


def test_a_component_at_a_url_in_the_manifest(folder: Path) -> None:
    shop = folder / "targets" / "shop"
    text = (shop / "target.yaml").read_text()
    old = 'command: [auth, "{port}", "{management_port}"]\n    ready: /healthz\n    management: true'
    (shop / "target.yaml").write_text(text.replace(old, "url: http://127.0.0.1:8001\n    ready: /healthz"))
    target = with_existing(load_target(shop), existing())
    assert target.existing == {"auth": "http://127.0.0.1:8001"}
    assert target.proxied_edges == target.edge_names
    assert not target.capabilities("auth")


def test_a_plan_with_an_app_that_runs_already(plan_with: Callable[..., Plan]) -> None:
    here = existing(target=APP)
    near = ("redis-down: {at", "latency: {on: client->app, latency: 1s, at")
    plan = plan_with(near, existing=here)
    assert plan.scenario["existing"] == {"target": APP}
    assert plan.scenario_sha256 != plan_with(near).scenario_sha256
    with pytest.raises(ScenarioError, match="is a process that the harness started, which `redis` is not"):
        plan_with(existing=here)
    with pytest.raises(ScenarioError, match="has a proxy of the harness on it, which `app->redis` is not"):
        plan_with(("redis-down: {at", "latency: {on: app->redis, latency: 1s, at"), existing=here)
    with pytest.raises(ScenarioError, match="settings: have no effect on app, which runs already"):
        plan_with(near, ("variant: hardened", "settings: {pool_size: 3}"), existing=here)
    elsewhere = existing(target="http://shop.example.com")
    plan_with(near, ("target: shop", "target: shop\nhosts: [shop.example.com]"), existing=elsewhere)
    with pytest.raises(ScenarioError, match="not this machine"):
        plan_with(near, existing=elsewhere)
