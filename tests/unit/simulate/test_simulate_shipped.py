"""The shipped scenarios in simulation: each variant ends as it says it does, for many seeds."""

from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from harness import experiment
from harness.analysis.analyse import analyse
from harness.errors import ScenarioError
from harness.load import tasks
from harness.paths import shipped
from harness.record.reader import Telemetry
from harness.simulate import scenario
from harness.simulate.experiment import simulate

SEEDS = range(10)


def trial(name: str, variant: str, monkeypatch, **choices):
    """The trial of a shipped scenario; its locustfile's tasks are known here, to spare a process for each."""
    mixes = {
        "checkout.py": {"checkout": 2.0, "catalog": 1.0},
        "shop.py": {"ping": 1, "catalog": 6, "session": 3, "product": 6, "order": 2, "account": 2, "checkout": 4},
    }
    monkeypatch.setattr(scenario, "tasks_of", lambda file, _users: mixes[file.name])
    planned = experiment.plan(shipped("scenarios") / f"{name}.yaml", variant=variant, seed=1, **choices)
    return replace(scenario.trial_of(planned.plan, planned.target), fresh_load=True)


@pytest.mark.parametrize(
    ("variant", "klass"), [("fragile", "metastable"), ("client-hardened", "cascading"), ("hardened", "contained")]
)
def test_two_am_ends_in_simulation_as_it_does_in_reality(variant, klass, monkeypatch):
    found = trial("two-am", variant, monkeypatch)
    assert Counter(analyse(simulate(found, seed)).cascade.klass for seed in SEEDS) == {klass: len(SEEDS)}


def test_without_the_fault_the_fragile_shop_carries_the_spike(monkeypatch):
    found = trial("two-am", "fragile", monkeypatch, only="baseline")
    assert Counter(analyse(simulate(found, seed)).cascade.klass for seed in SEEDS) == {"none": len(SEEDS)}


def test_the_shop_s_own_limits_alone_keep_the_catalogue_up_whatever_clients_do(monkeypatch):
    limits = ["settings.pool_wait=250ms", "settings.checkout_bulkhead=8"]
    found = trial("two-am", "fragile", monkeypatch, overrides=limits)
    for seed in SEEDS:
        verdict = analyse(simulate(found, seed))
        assert [one.error_rate_fault for one in verdict.endpoints if one.endpoint == "catalog"] == [0.0]
        assert verdict.recovery.recovered
        assert verdict.recovery.seconds <= 10


@pytest.mark.parametrize(("variant", "klass"), [("hardened", "none"), ("fragile", "contained")])
def test_the_loss_of_redis_does_in_simulation_what_it_does_in_reality(variant, klass, monkeypatch):
    found = trial("redis-outage", variant, monkeypatch)
    assert Counter(analyse(simulate(found, seed)).cascade.klass for seed in SEEDS) == {klass: len(SEEDS)}


def test_what_sentinels_would_end_is_not_simulated_as_if_they_did_not(monkeypatch):
    with pytest.raises(
        ScenarioError, match=r"servers\.redis\.sentinel: .* nothing of the sentinels(.|\n)*--set servers"
    ):
        trial("redis-outage", "sentinel", monkeypatch)
    trial("redis-outage", "sentinel", monkeypatch, overrides=["servers.redis.sentinel=false"])


def test_the_tasks_of_a_locustfile_are_found_with_their_weights():
    found = tasks.tasks_of(shipped("scenarios") / "locustfiles" / "checkout.py", 100)
    assert list(found) == ["checkout", "catalog"]
    assert found["checkout"] == pytest.approx(2 * found["catalog"])


def test_shedding_all_load_ends_the_collapse_of_the_fragile_shop(monkeypatch):
    found = trial("two-am", "fragile", monkeypatch, overrides=["hysteresis=on"])
    for seed in range(3):
        record = simulate(found, seed)
        scenario_on = {**record.info.scenario, "hysteresis": {"shed": "150s", "return": "26s"}}
        verdict = analyse(replace(record, info=record.info.model_copy(update={"scenario": scenario_on})))
        assert (verdict.cascade.klass, verdict.cascade.hysteresis) == ("metastable", "confirmed")
        shed = next(one for one in verdict.cascade.evidence if one.criterion == "C6")
        assert "every queue was empty after" in shed.text
        assert verdict.recovery.recovered is False


@pytest.mark.parametrize(
    ("variant", "klass"), [("fragile", "metastable"), ("client-hardened", "cascading"), ("hardened", "contained")]
)
def test_samples_and_events_alone_give_the_same_class(variant, klass, monkeypatch):
    record = simulate(trial("two-am", variant, monkeypatch), 1)
    bare = analyse(replace(record, telemetry=Telemetry(MappingProxyType({}))))
    assert bare.cascade.klass == klass
    assert {one.kind for one in bare.cascade.onsets} <= {"errors", "slow"}
    assert bare.cascade.chain == ()
    assert {one.tier for one in bare.cascade.factors} == {""}
    busy = next(one for one in bare.cascade.evidence if one.criterion == "C4")
    assert busy.met is not True
    undeclared = record.info.model_copy(update={"target": record.info.target.model_copy(update={"dependencies": {}})})
    blind = analyse(replace(record, info=undeclared))
    assert blind.cascade.klass == ("metastable" if klass == "metastable" else "unknown")
    assert next(one for one in blind.cascade.evidence if one.criterion == "C1").met is None
