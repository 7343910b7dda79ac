"""A small target, a catalogue, and a scenario that is right until a test breaks it."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.faults.base import FaultableStack, FaultType, Param
from harness.plan import Plan, PlannedFault
from harness.scenario.resolve import resolve

MANIFEST = """\
name: shop
description: a shop
settings:
  pool_size: {type: integer, default: 5, env: POOL_SIZE, help: connections}
  pool_wait: {type: duration, default: 30s, env: POOL_WAIT_SECONDS, help: patience}
  breaker: {type: boolean, default: no, env: BREAKER, help: circuit breaker}
  api_token: {type: string, default: "", env: API_TOKEN, help: secret}
presets:
  fragile: {}
  hardened: {pool_wait: 250ms, breaker: true}
servers:
  postgres: {engine: postgres}
  redis: {engine: redis}
processes:
  app:
    command: ["{python}", "{target}/app.py", "{port}"]
    replicas: 2
    environment: {DB: "{app->postgres}", CACHE: "{app->redis}", ME: "{replica}"}
    ready: /readyz
  auth:
    command: [auth, "{port}", "{management_port}"]
    ready: /healthz
    management: true
edges: [app->postgres, app->redis, app->auth]
entry: app
reset: {command: ["{python}", "-m", "reset"], environment: {DB: "{postgres}"}}
dependencies:
  catalog: [app]
  product: [app, redis, postgres]
  checkout: [app, postgres]
component_dependencies:
  app: [postgres, redis, auth]
shared_resources:
  threads: [catalog, product, checkout]
"""
SCENARIO = """\
name: outage
hypothesis: It holds.
target: shop
variant: hardened
load:
  users: users.py
  rate: 100/s
  timeout: 1s
  phases: [{warm-up: 5s}, {steady: 10s}, {spike: 20s, rate: +30%, ramp: 2s}, {recovery: 10s}]
faults:
  - redis-down: {at: spike + 5s, for: 10s}
expect:
  - error-rate of catalog increases by < 1pp
  - no cascade
"""


def _never(planned: PlannedFault, stack: FaultableStack) -> object:
    raise AssertionError("planning makes no fault")


@pytest.fixture
def catalogue() -> Mapping[str, FaultType]:
    """One fault of each kind."""
    latency = {
        "latency": Param("duration", "how much", required=True),
        "jitter": Param("duration", "how uneven", default=0.0),
        "toxicity": Param("percentage", "share of connections", default=1.0),
        "stream": Param("choice", "which way", default="downstream", choices=("upstream", "downstream")),
    }
    return {
        "latency": FaultType("latency", "network", "Slow.", "edge", _never, params=latency, layer="delay"),  # type: ignore[arg-type]
        "line": FaultType(
            "line",
            "network",
            "Narrow.",
            "edge",
            _never,
            params={"rate": Param("byte-rate", "how wide", least=2000)},
            many=True,
            layer="rate",
        ),  # type: ignore[arg-type]
        "redis-down": FaultType(  # type: ignore[arg-type]
            "redis-down",
            "cache",
            "Gone.",
            "component",
            _never,
            default_place="redis",
            capability="process",
            protocol="redis",
        ),
        "retry-storm": FaultType(  # type: ignore[arg-type]
            "retry-storm",
            "client",
            "Again.",
            "clients",
            _never,
            params={"retries": Param("integer", "how often", default=3)},
        ),
        "kill": FaultType(
            "kill",
            "process",
            "Dead.",
            "component",
            _never,
            capability="replicas",
            many=True,
            layer="life",
            out_at_once=lambda fault, target: Counter(
                target.component_of(name) for place in fault.where for name in target.instances(place)
            ),
        ),  # type: ignore[arg-type]
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a target, a locustfile and `outage.yaml`."""
    manifest = tmp_path / "targets" / "shop" / "target.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(MANIFEST)
    (tmp_path / "users.py").touch()
    (tmp_path / "outage.yaml").write_text(SCENARIO)
    return tmp_path


@pytest.fixture
def plan_with(folder: Path, catalogue: Mapping[str, FaultType]) -> Callable[..., Plan]:
    """Resolve the scenario after replacing texts in it: `plan_with(("old", "new"), variant=...)`."""

    def resolved(*changes: tuple[str, str], **choices: object) -> Plan:
        text = SCENARIO
        for old, new in changes:
            assert old in text, f"the scenario has no {old!r}"
            text = text.replace(old, new)
        (folder / "outage.yaml").write_text(text)
        return resolve(folder / "outage.yaml", catalogue=catalogue, **{"seed": 7, **choices})  # type: ignore[arg-type]

    return resolved
