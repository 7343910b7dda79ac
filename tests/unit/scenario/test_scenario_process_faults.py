"""Faults about processes: what is refused when it is planned, what it may hit, and what may overlap."""

import itertools

import pytest
from stack_bench import SHOP, plan_for

from harness.errors import ScenarioError
from harness.faults.catalogue import catalogue
from harness.faults.families.configuration import parse_settings
from harness.faults.families.process import draw_kills
from harness.scenario.manifest import load_target

TARGET = load_target(SHOP)
WHEN = "at: 0s, for: 9s"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("evict: {on: app, replicas: 3, %s}", "`app` is 2 processes, and `replicas` asks for 3"),
        ("kill: {on: auth, replicas: 2, %s}", "`auth` is 1 process, and"),
        ("pause: {on: app, replicas: 0, %s}", "`0` is too little"),
        ("evict: {on: app, grace-period: 1s, pre-stop: 2s, %s}", "`pre-stop` is part of the grace period"),
        ("rolling-restart: {on: auth, %s}", "two replicas or more, which `auth` is not"),
        ("rolling-restart: {on: app-1, %s}", "`app-1` is one replica; name the component"),
        ("rolling-restart: {on: app, pre-stop: 5s, %s}", "takes 10s at least, and `for` gives it 9s"),
        ("rolling-restart: {on: app, evict: 9s, %s}", "`evict: 9s` comes after its end; `for` is 9s"),
        ("autoscaling-lag: {on: app, to: 2, %s}", "`app` has 2 replicas, which `to: 2` does not make fewer"),
        ("scale-down: {on: app, to: 2, %s}", "`app` has 2 replicas, which `to: 2` does not make fewer"),
        ("scale-down: {on: app-1, to: 0, %s}", "`app-1` is one replica; name the component"),
        ("drain: {on: app-1, %s}", "`app-1` is one replica; name components"),
        ("drain: {on: app, node: 3, %s}", "there are 2 `nodes`, so no `node: 3`"),
        ("drain: {on: auth, node: 2, %s}", "no replica on node 2 of 2"),
        ("config-drift: {on: redis, set: threads=1, %s}", "`redis` is a server"),
        ("config-drift: {on: app, set: thread=1, %s}", "did you mean `threads`"),
        ("config-drift: {on: app, set: threads=many, %s}", "expected a whole number, got `many`"),
        ("config-drift: {on: app, set: threads, %s}", "expected settings such as `pool_size=1,pool_wait=30s`"),
        ("config-drift: {on: app, set: 'threads=1,threads=2', %s}", "`threads` is there twice"),
    ],
)
def test_what_cannot_be_done_is_refused(entry: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        plan_for(TARGET, entry % WHEN)
    assert said in str(refused.value)
    assert refused.value.line == 2


@pytest.mark.parametrize(
    ("entry", "most"),
    [
        ("evict: {on: app, %s}", {"app": 1}),
        ("kill: {on: [app, auth], %s}", {"app": 1, "auth": 1}),
        ("pause: {on: app, replicas: 2, %s}", {"app": 2}),
        ("rolling-restart: {on: app, %s}", {"app": 1}),
        ("rolling-restart: {on: app, max-unavailable: 5, %s}", {"app": 2}),
        ("rolling-restart: {on: app, evict: 1s, %s}", {"app": 2}),
        ("scale-down: {on: app, to: 0, %s}", {"app": 2}),
        ("drain: {on: [app, auth], nodes: 1, %s}", {"app": 2, "auth": 1}),
        ("random-kills: {on: [app, auth], %s}", {"app": 1, "auth": 1}),
        ("config-drift: {on: app-2, set: threads=1, %s}", {"app": 1}),
        ("latency: {on: app->redis, latency: 1s, %s}", {}),
    ],
)
def test_how_many_are_out_at_the_same_time(entry: str, most: dict[str, int]) -> None:
    (fault,) = plan_for(TARGET, entry % WHEN)
    assert catalogue()[fault.kind].out_at_once(fault, TARGET) == most


def fits(one: str, other: str) -> bool:
    """Whether both faults may be in one scenario."""
    try:
        return len(plan_for(TARGET, one, other)) == 2
    except ScenarioError as error:
        if "only one of the two can be at a time" not in str(error):
            raise
        return False


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        ("evict: {on: app, %s}", "latency: {on: client->app, latency: 1s, %s}", True),
        ("latency: {on: app->auth, latency: 1s, %s}", "kill: {on: app, replicas: 2, %s}", True),
        ("evict: {on: app-1, %s}", "kill: {on: app-2, %s}", True),
        ("kill: {on: postgres, %s}", "pool-exhaustion: {%s}", False),
        ("evict: {on: app, %s}", "kill: {on: app-2, %s}", False),
        ("kill: {on: auth, %s}", "latency: {on: app->auth, latency: 1s, %s}", False),
        ("latency: {on: client->app, latency: 1s, %s}", "pause: {on: app, replicas: 2, %s}", False),
        ("kill: {on: app-1, %s}", "memory-pressure: {on: app-1, %s}", False),
        ("pause: {on: app-1, %s}", "fd-exhaustion: {on: app-1, %s}", False),
        ("crash-loop: {on: app-1, %s}", "cpu-burn: {on: app-1, %s}", False),
        ("config-drift: {on: app-1, set: threads=1, %s}", "memory-leak: {on: app-1, %s}", False),
        ("memory-leak: {on: app-1, %s}", "fd-exhaustion: {on: app-1, %s}", False),
        ("memory-leak: {on: postgres, %s}", "read-only: {%s}", False),
        ("memory-leak: {on: app-1, %s}", "kill: {on: app-2, %s}", True),
        ("maxmemory: {%s}", "kill: {on: redis, %s}", False),
        ("flush: {%s}", "pause: {on: redis, %s}", False),
        ("fd-exhaustion: {on: redis, %s}", "latency: {on: app->redis, latency: 1s, %s}", False),
    ],
)
def test_overlapping_faults_fit_where_the_effect_of_each_can_be_seen(one: str, other: str, fit: bool) -> None:
    assert fits(one % WHEN, other % WHEN) == fit


@pytest.mark.parametrize(
    ("begins", "lasts", "fit"),
    [("2s", "14s", True), ("4s", "12s", False), ("2s", "11s", False), ("20s", "5s", True)],
)
def test_a_fault_on_an_edge_outlasts_the_silence_at_its_end(begins: str, lasts: str, fit: bool) -> None:
    """Its effect is seen before the server dies, and that it is gone after the server is back."""
    latency = f"latency: {{on: app->redis, latency: 1s, at: {begins}, for: {lasts}}}"
    assert fits(latency, "kill: {on: redis, at: 5s, for: 8s}") == fit


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        ("kill: {on: app-1, at: 0s, for: 4s}", "evict: {on: app-1, at: 4s, for: 9s}", False),
        ("kill: {on: app-1, at: 0s, for: 4s}", "cpu-burn: {on: app-1, at: 6s, for: 9s}", False),
        ("kill: {on: app-1, at: 0s, for: 4s}", "cpu-burn: {on: app-1, at: 9s, for: 9s}", True),
        ("lock: {table: orders, at: 0s, for: 4s}", "lock: {table: orders, at: 4s, for: 9s}", True),
        ("pool-exhaustion: {at: 0s, for: 9s}", "lock: {table: orders, at: 3s, for: 9s}", False),
        ("lock: {table: orders, at: 0s, for: 9s}", "pool-exhaustion: {at: 3s, for: 9s}", True),
        ("lock: {table: orders, at: 0s, for: 9s}", "pool-exhaustion: {at: 0s, for: 9s}", True),
    ],
)
def test_a_fault_finds_what_it_needs_when_it_is_prepared(one: str, other: str, fit: bool) -> None:
    assert fits(one, other) == fit


def test_settings_are_read_with_blanks_around_them() -> None:
    assert parse_settings(" pool_size = 1 ,pool_wait=30s") == {"pool_size": "1", "pool_wait": "30s"}


def test_kills_are_drawn_by_their_seed_and_come_as_often_as_asked_for() -> None:
    names = ["a", "b", "c"]
    first = list(itertools.islice(draw_kills(names, 2.0, 7), 4000))
    assert first == list(itertools.islice(draw_kills(names, 2.0, 7), 4000))
    assert first[:9] != list(itertools.islice(draw_kills(names, 2.0, 8), 9))
    assert first[0][0] == 0.0
    assert first[-1][0] / 3999 == pytest.approx(2.0, rel=0.1)
    assert {tuple(sorted(order)) for _, order in first} == {("a", "b", "c")}
    for name in names:
        assert sum(order[0] == name for _, order in first) == pytest.approx(1333, rel=0.15)
