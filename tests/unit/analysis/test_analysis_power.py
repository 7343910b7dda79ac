"""What a plan promises to find is found, and what it warns of is so."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.cells import Cells, Pair
from harness.analysis.decision import decide
from harness.analysis.history import History, Known, read_history
from harness.analysis.power import Foresight, foresee
from harness.expectations import parse
from harness.plan import Arm, Load, Phase, Plan, PlannedFault, Segment
from harness.report.foresight import foresight_data, foresight_text


def plan(*expect: str, rate: float = 200.0, fault_s: float = 60.0, pairs: int = 1, after_s: float = 60.0) -> Plan:
    end_s = 70 + fault_s + after_s
    arms = tuple(Arm(f"{kind}-{pair}", kind, pair) for pair in range(1, pairs + 1) for kind in ("baseline", "fault"))
    return Plan(
        name="x",
        hypothesis="",
        scenario_file="x.yaml",
        scenario={"load": {"rate": f"{rate:g}/s"}},
        scenario_sha256="",
        target_name="t",
        target_folder="",
        variant="v",
        settings={},
        arms=arms,
        phases=(Phase("warm-up", 0, 10, rate), Phase("steady", 10, end_s, rate)),
        load=Load("", "poisson", (Segment(0, end_s, rate, rate),), 1, 10, 1.0, 1.0),
        faults=(PlannedFault("f", "f", 70.0, fault_s, {}, "redis"),),
        expect=expect,
        abort_when=(),
        seed=1,
    )


CALM = np.arange(60)


def cells(failed):
    """Two hundred arrivals a second, of which so many failed."""
    failed = failed.astype(np.int64)
    arrivals = np.full(len(failed), 200)
    felt = arrivals[:, None].astype(np.int32)
    return Cells(arrivals, failed, arrivals - failed, arrivals, arrivals, felt, 0)


def only(foresight: Foresight):
    assert len(foresight.powers) == 1
    return foresight.powers[0]


def test_the_promised_error_rate_is_found_as_often_as_promised():
    power = only(foresee(plan("error-rate increases by < 1pp"), History(), ["a"]))
    assert power.arrivals == 12_000
    rng = np.random.default_rng(1)
    expectation = parse("error-rate increases by < 1pp")
    for value, promised in zip(power.found, (0.8, 0.9), strict=True):
        fails = 0
        for _ in range(300):
            during = rng.binomial(200, value / 100, 60)
            pair = Pair("a", cells(np.zeros(120)), cells(np.concatenate((np.zeros(60), during))), [CALM], [CALM])
            fails += decide(expectation, pair, slice(60, 120), 60.0).outcome == "fail"
        assert promised - 0.05 <= fails / 300 <= promised + 0.15


def test_the_promised_ratio_over_pairs_is_found_as_often_as_promised():
    history = History(5, {("", "p95"): Known(1.0, 100.0, 0.5, 0.05)})
    power = only(foresee(plan("p95 increases by < 20%", pairs=5), history, ["a"]))
    truth = math.log1p(power.found[0] / 100)
    rng = np.random.default_rng(2)
    deviation = math.hypot(math.sqrt(2) * 0.05, 0.5 * math.sqrt(2 / 12_000))
    values = rng.normal(truth, deviation, (4000, 5))
    t = (values.mean(axis=1) - math.log(1.2)) / (values.std(axis=1, ddof=1) / math.sqrt(5))
    assert np.mean(t > 2.132) == pytest.approx(0.8, abs=0.02)


def test_more_load_more_time_and_more_pairs_find_less():
    def found(**given):
        return only(foresee(plan("p95 increases by < 20%", **given), History(), ["a"])).found[0]

    assert found(rate=800) < found()
    assert found(fault_s=240) < found()
    assert found(pairs=10) < found(pairs=3)


def test_what_too_few_arrivals_can_not_decide_is_said_with_what_would_do():
    power = only(foresee(plan("error-rate increases by < 1pp", rate=20, fault_s=10), History(), ["a"]))
    assert "seldom pass" in power.warning
    factor = int(power.warning.split(" times the load")[0].split()[-1])
    assert not only(
        foresee(plan("error-rate increases by < 1pp", rate=20 * factor, fault_s=10), History(), ["a"])
    ).warning
    assert only(
        foresee(plan("error-rate increases by < 1pp", rate=20 * (factor - 1), fault_s=10), History(), ["a"])
    ).warning


def test_far_quantiles_need_their_floor():
    power = only(foresee(plan("p99.9 increases by < 50%", rate=100, fault_s=10), History(), ["a"]))
    assert power.found == (None, None)
    assert "1000 arrivals" in power.warning


def test_milliseconds_wait_for_a_first_run():
    text = "p95 of a increases by < 50ms"
    assert only(foresee(plan(text), History(), ["a"])).found == (None, None)
    known = History(1, {("a", "p95"): Known(0.5, 100.0, 0.5, None), ("a", "error-rate"): Known(0.5, 0.0, 0.0, None)})
    power = only(foresee(plan(text), known, ["a"]))
    assert power.arrivals == 6000
    assert 50 < power.found[0] < power.found[1] < 60


def test_goodput_and_limits_are_told_in_their_own_unit():
    assert 5 < only(foresee(plan("goodput decreases by < 5%"), History(), ["a"])).found[0] < 6
    assert 2 < only(foresee(plan("error-rate < 2%"), History(), ["a"])).found[0] < 3
    assert 300 < only(foresee(plan("p95 < 300ms"), History(), ["a"])).found[0] < 330


def test_a_short_watch_and_a_short_calm_are_warned_of():
    short = foresee(plan("recovers within 10s", "no cascade", after_s=8.0), History(), ["a"])
    assert all("recovery phase" in power.warning for power in short.powers)
    hurried = replace(plan("no cascade"), phases=(Phase("warm-up", 0, 69, 1.0), Phase("steady", 69, 75, 1.0)))
    assert "undisturbed" in foresee(hurried, History(), ["a"]).warnings[0]


def test_without_a_pair_or_in_the_closed_model_nothing_is_promised():
    alone = replace(plan("error-rate increases by < 1pp"), arms=(Arm("fault-1", "fault", 1),))
    assert "nothing is compared" in foresee(alone, History(), ["a"]).warnings[0]
    closed = plan("error-rate increases by < 1pp")
    closed = replace(closed, load=replace(closed.load, model="closed"))
    foresight = foresee(closed, History(), ["a"])
    assert (only(foresight).found, len(foresight.warnings)) == ((None, None), 1)


def test_it_reads_well_and_is_json():
    foresight = foresee(plan("error-rate increases by < 1pp", "no cascade", pairs=3), History(), ["a"])
    assert "90% power" in foresight_text(foresight)
    assert "runs differ by 5%" in foresight.basis
    data = json.loads(json.dumps(foresight_data(foresight), allow_nan=False))
    assert data["expectations"][0]["found"]["0.8"] < data["expectations"][0]["found"]["0.9"]


def write_run(results, name, value, *, rate="200/s", valid=True, scenario="x"):
    folder = results / name
    folder.mkdir()
    usual = {"endpoint": "", "metric": "p95", "share": 1.0, "value": value, "spread": 0.5, "design_effect": 1.0}
    verdict = {"scenario": scenario, "variant": "v", "validity": {"valid": valid}, "usual": [usual]}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    (folder / "run.json").write_text(json.dumps({"scenario": {"load": {"rate": rate}}}))


def test_the_history_is_that_of_the_same_scenario_and_load(tmp_path):
    for name, value in (("1", 100.0), ("2", 110.0), ("3", 105.0)):
        write_run(tmp_path, name, value)
    write_run(tmp_path, "4", 900.0, rate="50/s")
    write_run(tmp_path, "5", 900.0, valid=False)
    write_run(tmp_path, "6", 900.0, scenario="other")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "verdict.json").write_text("{")
    history = read_history(tmp_path, plan())
    assert history.runs == 3
    known = history.known["", "p95"]
    assert known.value == 105.0
    assert known.between == pytest.approx(np.std(np.log([100, 110, 105]), ddof=1))


def test_no_results_folder_is_no_history(tmp_path):
    assert read_history(tmp_path / "nowhere", plan()) == History()
