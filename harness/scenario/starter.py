"""`harness init`: a commented scenario, target manifest and locustfile for the user's own app."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ScenarioError
from harness.scenario.locations import Location

SCENARIO = Path("scenarios/first.yaml")
LOCUSTFILE = Path("scenarios/locustfiles/my_app.py")
MANIFEST = Path("targets/my-app/target.yaml")

_SCENARIO_TEXT = """\
# What happens to my app when {event} while traffic is 30 % up?
#
#   harness plan scenarios/first.yaml      what would happen, and when; touches nothing
#   harness run scenarios/first.yaml       does it, twice: without the fault, then with it
name: first
hypothesis: If {event} during a +30% spike, my app keeps serving.

# targets/my-app/target.yaml says {about}.
target: my-app
{variant}
load:
  users: locustfiles/my_app.py
  arrivals: poisson           # or uniform
  rate: 20/s                  # the steady rate; arrivals come at their time, however slow the app is
  timeout: 1s                 # clients give up after this
  # retries:                  # what clients do after a failure, by endpoint
  #   home: {{policy: exponential, limit: 3, base: 200ms, cap: 2s, budget: 10%}}
  phases:
    - {{warm-up: 5s}}           # not looked at
    - {{steady: 20s}}
    - {{spike: 30s, rate: +30%, ramp: 2s}}
    - {{recovery: 30s}}

# `harness faults` lists what can be broken.
faults:
  - {fault}

# In the fault's window, against the same seconds without it.
expect:
  - error-rate increases by < 1pp
  - p95 of home increases by < 50%
  - recovers within 10s
  - no cascade

# Stops the run early.
abort-when:
  - error-rate > 90% for 10s
"""

_MANIFEST_TEXT = """\
# How my app is started, what it depends on, and the choices that decide how it takes a fault.
name: my-app
description: My app with PostgreSQL and Redis

# Each choice is one environment variable. Types: integer, number, duration (passed in seconds), boolean (1 or 0),
# string. `--set settings.redis_timeout=50ms` tries one out.
settings:
  redis_timeout: {type: duration, default: 5s, env: REDIS_TIMEOUT_SECONDS, help: how long to wait for Redis}

# Sets of choices; a scenario names one as its variant.
presets:
  careless: {}
  careful: {redis_timeout: 100ms}

# Real servers that the harness boots on loopback. Engines: postgres, redis. Take out what the app does not use, here,
# in `edges` and below. `sentinel: true` gives a redis a replica, and three sentinels that promote it when the server
# has been silent for `down_after` (1s). `standby: asynchronous` (or synchronous) gives a postgres a second server that
# streams from it, for the faults `failover` and `replica-lag`. With a `url`, or --postgres and --redis, servers that
# run already are used.
servers:
  postgres: {engine: postgres}
  redis: {engine: redis}

# My own programs, started in this folder. {port} is the port to listen on, {python} the harness's interpreter, {target}
# this folder, {app->redis.url} the URL of Redis as the app shall use it: through a proxy that faults can act on
# ({app->redis} is its host:port alone). For something that runs already: `url: http://127.0.0.1:8000` instead of
# command, replicas and environment.
processes:
  app:
    command: ["{python}", -m, gunicorn, --threads, "16", --bind, "127.0.0.1:{port}", "my_app:app"]
    replicas: 2
    environment:
      DATABASE_URL: "{app->postgres.url}"
      REDIS_URL: "{app->redis.url}"
    ready: /healthz           # answers 200 when the app can serve
    # management: true        # a second port, {management_port}, with /metrics; it answers when all threads are busy

# Who calls whom; each edge gets a proxy.
edges: [app->postgres, app->redis]
# What clients talk to.
entry: app

# Brings the data to the state in which every arm starts. {postgres.url} is the server itself, not a proxy.
# reset:
#   command: ["{python}", -m, my_app.reset]
#   environment: {DATABASE_URL: "{postgres.url}"}

# Looks up, after every arm, each write of which a client was told that it is stored: its command reads their names (the
# values of the header `key`) from standard input, one a line, and prints {"missing": [...], "doubled": [...]}.
# audit:
#   endpoint: item
#   key: Idempotency-Key
#   command: ["{python}", -m, my_app.audit]
#   environment: {DATABASE_URL: "{app->postgres.url}"}

# Endpoint (a `name` in the locustfile) -> the components that it needs. Damage anywhere else is a cascade.
dependencies:
  home: [app]
  item: [app, redis, postgres]
component_dependencies:
  app: [postgres, redis]
# What endpoints share without needing each other: the way by which damage spreads.
shared_resources:
  app-threads: [home, item]
"""

_RUNNING_MANIFEST_TEXT = """\
# Where my app runs already, and what it depends on.
name: my-app
description: My app, which runs already

# Its plain http address; clients reach it through a proxy, where faults can act. The harness neither starts nor kills
# it. If it has a page /metrics (Prometheus), that is read too.
processes:
  app:
    url: {url}
    ready: /healthz           # answers 200 when the app can serve
entry: app
# Other machines have to be listed before load goes there.
{hosts}

# Faults between the app and what it calls need a proxy in between: a Toxiproxy server, named with --toxiproxy, with a
# proxy called after each edge (app-redis). Then list what the app calls, so that damage can be judged:
# servers:
#   redis: {{engine: redis}}
# edges: [app->redis]
# component_dependencies: {{app: [redis]}}

# Endpoint (a `name` in the locustfile) -> the components that it needs. Damage anywhere else is a cascade.
dependencies:
  home: [app]
  item: [app]
# What endpoints share without needing each other: the way by which damage spreads.
shared_resources:
  app-threads: [home, item]
"""

_LOCUSTFILE_TEXT = '''\
"""Who uses my app, and how: an ordinary locustfile. `name` is the endpoint in the scenario and the manifest."""

from locust import HttpUser, task


class Visitor(HttpUser):
    """Looks at the front page, and now and then at an item."""

    @task(3)
    def home(self) -> None:
        """The front page."""
        self.client.get("/", name="home")

    @task(1)
    def item(self) -> None:
        """One item."""
        self.client.get("/item/1", name="item")
'''


_STARTED = {
    "event": "Redis dies",
    "about": "how the app is started",
    "variant": "# One of the presets in that manifest.\nvariant: careful\n",
    "fault": "redis-down: {at: spike + 5s, for: 15s}",
}
_RUNNING = {
    "event": "every answer takes 200 ms longer",
    "about": "where the app runs",
    "variant": "",
    "fault": "latency: {on: client->app, latency: 200ms, at: spike + 5s, for: 15s}",
}


def write_starter(folder: Path, url: str | None = None) -> list[Path]:
    """Write the three files below `folder`, and say which; for an app that runs at `url` already, if there is one.

    Raises ScenarioError: no URL that can be used, a file is there already, can't be written.
    """
    files = {
        folder / SCENARIO: _SCENARIO_TEXT.format(**(_STARTED if url is None else _RUNNING)),
        folder / MANIFEST: _MANIFEST_TEXT if url is None else _running_manifest(url),
        folder / LOCUSTFILE: _LOCUSTFILE_TEXT,
    }
    for file in files:
        if file.exists():
            raise ScenarioError("is there already", file=file, remedy="choose another folder, or move it away")
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"can't be written: {error.strerror}", file=file) from error
    return list(files)


def _running_manifest(url: str) -> str:
    try:
        location = Location.parse(url, "http")
    except ValueError as error:
        raise ScenarioError(str(error), file="--target") from error
    hosts = "# hosts: [staging.example.com]" if location.is_loopback else f"hosts: [{location.host}]"
    return _RUNNING_MANIFEST_TEXT.format(url=url, hosts=hosts)
