"""model.yaml: settings act on it, and what is wrong with it is answered at its line."""

import math
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.paths import shipped
from harness.scenario.manifest import load_target
from harness.simulate.files import load_model
from harness.simulate.model import (
    Breaker,
    Cached,
    Call,
    Component,
    Constant,
    Edge,
    Exponential,
    Hold,
    Lognormal,
    Pool,
    Work,
)

MANIFEST = """\
name: shop
description: a shop
settings:
  threads: {type: integer, default: 4, env: THREADS, help: threads}
  patience: {type: duration, default: 30s, env: PATIENCE, help: patience}
  breaker: {type: boolean, default: no, env: BREAKER, help: circuit breaker}
servers:
  redis: {engine: redis}
processes:
  app: {command: [app], replicas: 2, ready: /}
  auth: {command: [auth], ready: /}
edges: [app->redis, app->auth]
entry: app
dependencies:
  home: [app]
  account: [app, auth, redis]
"""
MODEL = """\
components:
  app:
    workers: threads
    queue: 10
    shed-after: 2s
    balance: least-busy
    pools:
      slots: {size: 3, wait: patience, queue: 7}
      free: {size: 2}
  auth: {workers: 8, replicas: 3}
  redis: {}
edges:
  app->redis: {trip: 300us, timeout: patience, retries: 2, backoff: 50ms, breaker: {enabled: breaker, failures: 5,
    reset: 1s}}
  client->app: {trip: 1ms}
caches:
  users: {component: redis, keys: 9, ttl: patience}
endpoints:
  home: [{work: 2ms}]
  account:
    - work: {mean: 5ms, shape: exponential}
    - hold: slots
      do:
        - call: auth
          trips: 2
          tolerated: breaker
          do: [{work: {mean: 3ms, shape: lognormal, spread: 0.5}}]
    - cached: users
      fallback: true
      miss: [{work: 7ms}]
tasks:
  index: home
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "target.yaml").write_text(MANIFEST)
    return tmp_path


def read(folder: Path, text: str = MODEL, **overrides: str):
    (folder / "model.yaml").write_text(text)
    target = load_target(folder)
    return load_model(target, target.environment("", overrides))


def test_every_word_of_the_file_is_read(folder):
    found = read(folder)
    model = found.model
    assert found.tasks == {"index": "home"}
    assert model.components == {
        "app": Component(2, 4, 10, 2.0, {"slots": Pool(3, 30.0, 7), "free": Pool(2)}, "least-busy"),
        "auth": Component(3, 8),
        "redis": Component(),
    }
    assert model.edges == {"app->redis": Edge(0.0003, 30.0, 2, 0.05), "client->app": Edge(0.001)}
    assert model.caches["users"].ttl_s == 30.0
    assert model.endpoints["home"] == (Work(Constant(0.002)),)
    assert model.endpoints["account"] == (
        Work(Exponential(0.005)),
        Hold("slots", (Call("auth", (Work(Lognormal(0.003, 0.5)),), 2),)),
        Cached("users", (Work(Constant(0.007)),), True),
    )
    assert model.edge("app", "auth") == Edge(timeout_s=math.inf)
    assert model.called("account") == ("app", "auth", "redis")


def test_settings_act_on_the_model(folder):
    model = read(folder, threads="9", patience="250ms", breaker="true").model
    assert model.components["app"].workers == 9
    assert model.components["app"].pools["slots"].wait_s == 0.25
    assert model.edge("app", "redis").breaker == Breaker(5, 1.0)


def test_a_target_without_a_model_is_told_what_to_write(folder):
    target = load_target(folder)
    with pytest.raises(ScenarioError) as caught:
        load_model(target, target.environment("", {}))
    assert str(folder / "model.yaml") in caught.value.message
    assert "docs/simulation.md" in caught.value.remedy


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("workers: threads", "workers: thread", 3, "whole number of at least 1 or a setting of the target"),
        ("workers: threads", "workers: patience", 3, "expected a whole number"),
        ("workers: threads", "worker: threads", 3, "unknown key"),
        ("shed-after: 2s", "shed-after: 2", 5, "expected a duration"),
        ("balance: least-busy", "balance: fair", 6, "allowed words"),
        ("  redis: {}\n", "  redis: {}\n  rediss: {}\n", 12, "no component of the target `rediss`"),
        ("client->app", "client->auth", 15, "no edge of the target"),
        ("client->app: {trip: 1ms}", "client->app: {timeout: 1ms}", 15, "are the scenario's"),
        ("home: [{work: 2ms}]", "hom: [{work: 2ms}]", 19, "no endpoint of the target"),
        ("hold: slots", "hold: slotz", 22, "no pool of app `slotz`"),
        ("call: auth", "call: out", 24, "no component `out`"),
        ("cached: users", "cached: user", 28, "no cache `user`"),
        ("tolerated: breaker", "tolerated: patience", 26, "expected true or false"),
        ("[{work: 2ms}]", "[{trips: 2}]", 19, "a step is one of work, hold, call, cached"),
        ("[{work: 2ms}]", "[{work: 2ms, hold: slots}]", 19, "this one has work and hold"),
        ("[{work: 2ms}]", "[{work: 2ms, trips: 3}]", 19, "`trips` does not belong"),
        ("index: home", "index: hme", 32, "no endpoint `hme`"),
        ("      slots:", "      workers:", 8, "the name is taken"),
        ("keys: 9", "keys: 0", 17, "at least 1"),
    ],
)
def test_what_is_wrong_is_answered_at_its_line(folder, old, new, line, words):
    assert old in MODEL
    with pytest.raises(ScenarioError) as caught:
        read(folder, MODEL.replace(old, new, 1))
    assert f"model.yaml:{line}:" in str(caught.value)
    assert words in str(caught.value)


def test_the_shop_s_model_can_be_read_in_every_preset():
    target = load_target("sample-flask-app", [shipped("targets")])
    for preset in ("fragile", "hardened"):
        model = load_model(target, target.environment(preset, {})).model
        assert set(model.endpoints) == set(target.dependencies)
        for endpoint, declared in target.dependencies.items():
            assert set(model.called(endpoint)) == set(declared), endpoint
    assert model.components["app"].pools["checkouts"] == Pool(8, 0.0)
    assert model.components["app"].pools["database"] == Pool(5, 0.25)
