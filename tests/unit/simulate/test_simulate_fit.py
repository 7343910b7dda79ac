"""A model fitted to a run of known making finds what it was made with, and predicts what it was not shown."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import RecordError
from harness.plan import Load, Phase
from harness.shapes import Segment
from harness.simulate.effects import Latency
from harness.simulate.experiment import Trial, simulate
from harness.simulate.fit import compare, fit, summary, table_of, transfer
from harness.simulate.model import Call, Component, Constant, Edge, Hold, Lognormal, Model, Pool, Work


def shop(first: Lognormal | Constant, trip_s: float, **pool) -> Model:
    held = Hold("database", (Call("postgres", (Work(Constant(0.08)),), trips=3),))
    return Model(
        "app",
        {"app": Component(2, 16, pools={"database": Pool(5, **pool)}), "postgres": Component()},
        {"checkout": (Work(first), held), "catalog": (Work(first),)},
        {"app->postgres": Edge(trip_s=trip_s)},
    )


def trial(model: Model) -> Trial:
    phases = (Phase("warm-up", 0, 5, 90), Phase("steady", 5, 40, 90), Phase("recovery", 40, 70, 90))
    load = Load("", "poisson", (Segment(0, 70, 90, 90),), 0, 2000, 1.0, 1.0)
    effects = (Latency("app->postgres", 20, 30, 0.15),)
    return Trial(model, load, {"checkout": 2.0, "catalog": 1.0}, effects, phases)


def test_times_and_round_trips_are_found_and_the_unseen_fault_is_predicted():
    truth = trial(shop(Lognormal(0.006, 0.5), 0.003, wait_s=0.25))
    measured = simulate(truth, 1)
    guess = trial(shop(Constant(0.001), 0.0, wait_s=0.25))
    found = fit(measured, guess, 2)
    assert found.model.edges["app->postgres"].trip_s == pytest.approx(0.003, abs=0.002)
    catalog = found.model.endpoints["catalog"][0].takes
    assert np.median(catalog.quantiles_s) == pytest.approx(0.006 * np.exp(-0.125), rel=0.1)
    assert any("round trip" in note for note in found.notes)

    error = summary(compare(measured, simulate(replace(guess, model=found.model), 1)))
    unfitted = summary(compare(measured, simulate(guess, 1)))
    assert error["errors_worst_points"] < 3
    assert error["p95_median_relative"] < 0.1
    assert unfitted["p95_median_relative"] > 0.3


def test_what_was_found_serves_other_settings_too():
    found = fit(simulate(trial(shop(Constant(0.006), 0.0, wait_s=0.25)), 1), trial(shop(Constant(0.001), 0.0)), 2)
    other = transfer(found, shop(Constant(0.001), 0.0, wait_s=9.0))
    assert other.components["app"].pools["database"].wait_s == 9.0
    assert other.endpoints["catalog"] == found.model.endpoints["catalog"]
    assert isinstance(other.endpoints["checkout"][1], Hold)


def test_a_limit_that_the_gauges_contradict_is_told():
    truth = trial(shop(Constant(0.006), 0.0))
    smaller = replace(truth.model.components["app"], workers=12)
    guess = replace(truth, model=replace(truth.model, components={**truth.model.components, "app": smaller}))
    found = fit(simulate(truth, 1), guess, 2)
    assert "app: 16 workers, the model has 12" in found.notes
    assert found.model.components["app"].workers == 16


def test_a_run_without_a_baseline_is_refused():
    truth = trial(shop(Constant(0.006), 0.0))
    with pytest.raises(RecordError, match="no baseline arm"):
        fit(simulate(replace(truth, arms=[("fault-1", "fault", 1)]), 1), truth, 2)


def test_only_runs_of_one_plan_are_compared():
    one = trial(shop(Constant(0.006), 0.0))
    other = replace(one, effects=(Latency("app->postgres", 20, 24, 0.15),))
    with pytest.raises(RecordError, match="phases or faults"):
        compare(simulate(one, 1), simulate(other, 1))


def test_the_comparison_is_a_table_of_phases_and_faults():
    record = simulate(trial(shop(Constant(0.006), 0.0)), 1)
    cells = compare(record, record)
    assert {cell.stretch for cell in cells} == {"steady", "recovery", "latency on"}
    assert summary(cells)["errors_worst_points"] == summary(cells)["p95_worst_relative"] == 0
    assert "| fault-1 | latency on | checkout |" in table_of(cells)
