"""Whole records to verdicts: the outcome, the class and what it rests on."""

import json

import numpy as np
import pytest
from record_builder import build_record, seal, write_record

from harness.analysis import comparisons
from harness.analysis.analyse import analyse
from harness.analysis.verdict import write
from harness.exits import Exit
from harness.record.reader import read
from harness.record.schema import SAMPLE_COLUMNS

EXPECT = (
    "error-rate increases by < 1pp",
    "p95 of checkout increases by < 50%",
    "recovers within 10s",
    "no cascade",
)
STACK = {
    "seconds": 30,
    "rate": 130,
    "fault_window": (14.3, 20.31),
    "dependencies": {"catalog": ["app"], "checkout": ["app", "postgres"]},
    "component_dependencies": {"app": ["postgres", "redis"]},
    "faulted": "postgres",
    "expect": EXPECT,
}


@pytest.fixture
def judge(tmp_path):
    """The verdict of a synthetic record; keywords are those of `build_record`."""

    def make(edit=None, **given):
        folder = build_record(tmp_path / "run", **{**STACK, **given})
        if edit is not None:
            edit(folder)
            seal(folder)
        return analyse(read(folder))

    return make


def edit_json(**changes):
    def edit(folder):
        document = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**document, **changes}))

    return edit


def keep_events(keep):
    def edit(folder):
        lines = (folder / "events.jsonl").read_text().splitlines()
        kept = [line for line in lines if keep(json.loads(line))]
        (folder / "events.jsonl").write_text("".join(line + "\n" for line in kept))

    return edit


def outcomes(verdict):
    return {comparison.expectation: comparison.outcome for comparison in verdict.comparisons}


def evidence(verdict, criterion):
    return next(found for found in verdict.cascade.evidence if found.criterion == criterion)


def test_nothing_wrong_in_a_six_second_window_passes(judge):
    verdict = judge()
    assert set(outcomes(verdict).values()) == {"pass"}
    assert (verdict.outcome, verdict.exit_code, verdict.cascade.klass) == ("pass", Exit.PASS, "none")
    assert verdict.recovery.recovered


@pytest.mark.parametrize("rate", [100, 160])
def test_no_errors_at_all_are_within_one_point(judge, rate):
    assert judge(rate=rate, expect=["error-rate increases by < 1pp"]).outcome == "pass"


def test_thirty_percent_errors_fail(judge):
    verdict = judge(fault_error=0.3, expect=["error-rate increases by < 1pp"], dependencies={})
    comparison = verdict.comparisons[0]
    assert comparison.outcome == verdict.outcome == "fail"
    assert comparison.difference == pytest.approx(30, abs=6)
    assert comparison.interval.low > 20
    assert (comparison.unit, comparison.margin, comparison.phase) == ("pp", 1.0, "fault")


def test_a_small_rise_is_inconclusive_and_says_how_long_would_do(judge):
    comparison = judge(fault_error=0.01, expect=["error-rate increases by < 1pp"]).comparisons[0]
    assert comparison.outcome == "inconclusive"
    assert "fault would" in comparison.why


def test_hardened_stack_is_contained(judge):
    verdict = judge(fault_error={"checkout": 0.75})
    assert (verdict.cascade.klass, verdict.outcome, verdict.exit_code) == ("contained", "fail", Exit.FAIL)
    assert evidence(verdict, "C1").met is False
    assert [onset.series for onset in verdict.cascade.onsets] == ["checkout errors"]
    assert verdict.cascade.onsets[0].t_s == pytest.approx(14.3, abs=1.01)
    rows = {row.endpoint: row for row in verdict.endpoints}
    assert (rows["catalog"].declared_path, rows["checkout"].declared_path) == (False, True)
    assert rows["checkout"].error_rate_fault == pytest.approx(0.75, abs=0.08)
    assert rows["checkout"].errors_fault.keys() == {"http_5xx"}
    assert rows["catalog"].errors_fault == {}


def test_spread_that_heals_is_cascading(judge):
    verdict = judge(fault_error={"checkout": 0.95, "catalog": 0.9})
    assert (verdict.cascade.klass, verdict.exit_code) == ("cascading", Exit.CASCADE)
    assert evidence(verdict, "C1").endpoint == "catalog"
    assert verdict.recovery.recovered


def test_damage_that_stays_is_metastable(judge):
    verdict = judge(fault_error=1.0, retries=3, recover=False, seconds=45)
    assert (verdict.cascade.klass, verdict.outcome, verdict.exit_code) == ("metastable", "fail", Exit.CASCADE)
    assert evidence(verdict, "C2").value == pytest.approx(4.0)
    assert evidence(verdict, "C3").met is True
    assert evidence(verdict, "C6").met is None
    assert verdict.recovery.censored
    assert verdict.recovery.recovered is False


def test_damage_that_stays_but_was_not_watched_for_long_says_so(judge):
    verdict = judge(fault_error=1.0, recover=False)
    assert verdict.cascade.klass == "cascading"
    assert "too short to call it metastable" in verdict.cascade.sentence
    assert outcomes(verdict)["recovers within 10s"] == "inconclusive"
    alone = judge(fault_error={"checkout": 1.0}, recover=False)
    assert alone.cascade.klass == "contained"
    assert "too short to call it metastable" in alone.cascade.sentence


def test_damage_that_the_baseline_has_too_is_not_metastable(judge):
    verdict = judge(fault_error=1.0, baseline_error=0.3, recover=False, seconds=45)
    assert verdict.cascade.klass == "cascading"


def test_a_collapse_that_is_expected_passes(judge):
    verdict = judge(fault_error=1.0, recover=False, seconds=45, expect=["cascade is metastable"])
    assert (verdict.outcome, verdict.exit_code) == ("pass", Exit.PASS)
    other = judge(fault_error=1.0, recover=False, seconds=45, expect=["cascade is cascading"])
    assert (other.outcome, other.exit_code) == ("fail", Exit.CASCADE)


@pytest.mark.parametrize("bump_ms", [26.0, 28.0])
def test_a_slow_bump_without_a_path_is_no_spread(judge, bump_ms):
    verdict = judge(fault_error={"checkout": 0.75}, fault_latency_ms={"catalog": bump_ms})
    assert verdict.cascade.klass == "contained"


@pytest.mark.parametrize(("usual_ms", "disturbed_ms"), [(10, 14.5), (200, 225)])
def test_slower_by_a_fifth_or_by_ten_milliseconds_alone_is_no_damage(judge, usual_ms, disturbed_ms):
    verdict = judge(latency_ms=usual_ms, fault_latency_ms={"catalog": disturbed_ms}, rate=400)
    assert verdict.cascade.klass == "none"


def test_much_slower_without_a_path_is_spread(judge):
    verdict = judge(fault_error={"checkout": 0.75}, fault_latency_ms={"catalog": 120})
    assert verdict.cascade.klass == "cascading"
    assert "p95 of catalog" in evidence(verdict, "C1").text


def test_amplification_and_collapse_on_the_declared_path_are_cascading(judge):
    busy = []
    for arm, in_use in (("baseline-1", 2.0), ("fault-1", 5.0)):
        for t in range(30):
            busy.append((arm, float(t), "app-1", "pool_in_use", in_use if 14 < t < 21 else 2.0))
            busy.append((arm, float(t), "app-1", "pool_size", 5.0))
    served = [(arm, float(t), "app-1", "requests_total", 130.0 * t) for arm, *_ in busy[::60] for t in range(30)]
    mostly = {"endpoints": ("checkout",), "dependencies": {"checkout": ["app", "postgres"]}}
    verdict = judge(fault_error=0.9, retries=3, telemetry=busy + served, **mostly)
    assert [evidence(verdict, name).met for name in ("C1", "C2", "C4")] == [False, True, True]
    assert verdict.cascade.klass == "cascading"
    assert "app connection pool full" in [onset.series for onset in verdict.cascade.onsets]
    for readings in ([], busy):
        without = judge(fault_error=0.9, retries=3, telemetry=readings, **mostly)
        assert evidence(without, "C4").met is None
        assert without.cascade.klass == "contained"
        assert "can't be told" in without.cascade.sentence


def test_without_declared_dependencies_spread_cannot_be_told(judge):
    bare = edit_json(target={"dependencies": {}}, phases=[])
    verdict = judge(edit=bare, fault_error={"checkout": 0.75}, expect=())
    assert (verdict.cascade.klass, verdict.outcome) == ("unknown", "inconclusive")
    assert evidence(verdict, "C1").met is None
    assert "declares no dependencies" in verdict.cascade.sentence
    assert judge(edit=bare, expect=()).cascade.klass == "none"


def test_a_fault_that_was_never_confirmed_proves_nothing(judge):
    verdict = judge(edit=keep_events(lambda event: event["kind"] != "fault.active"))
    assert (verdict.outcome, verdict.exit_code, verdict.cascade.klass) == ("inconclusive", 4, "unknown")
    assert set(outcomes(verdict).values()) == {"inconclusive"}


def test_a_planned_fault_that_is_missing_keeps_it_from_passing(judge):
    faults = [{"id": "redis-down", "component": "postgres"}, {"id": "second", "component": "redis"}]
    verdict = judge(edit=edit_json(faults=faults))
    assert verdict.outcome == "inconclusive"
    assert "second" in verdict.comparisons[0].why


def test_a_fault_that_was_never_confirmed_clear_says_nothing_of_recovery(judge):
    verdict = judge(edit=keep_events(lambda event: event["kind"] != "fault.clear"))
    assert verdict.recovery.recovered is None
    assert outcomes(verdict)["recovers within 10s"] == "inconclusive"
    assert "never confirmed cleared" in verdict.sentence


def test_several_faults_make_one_window(judge):
    def second(folder):
        at = {"arm": "fault-1", "fault": "two", "edge": "app->redis"}
        events = [{**at, "t_ns": 12 * 10**9, "kind": "fault.active"}, {**at, "t_ns": 22 * 10**9, "kind": "fault.clear"}]
        with (folder / "events.jsonl").open("a") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)

    verdict = judge(edit=second)
    assert "disturbed for 10.0 s" in verdict.sentence
    assert "postgres and redis" in verdict.sentence


def test_an_abort_keeps_the_class_of_what_was_seen(judge):
    verdict = judge(fault_error=0.9, abort=True)
    assert (verdict.outcome, verdict.exit_code, verdict.cascade.klass) == ("aborted", Exit.ABORTED, "cascading")


def test_an_invalid_run_says_nothing(judge):
    verdict = judge(fault_error=1.0, valid=False)
    assert (verdict.outcome, verdict.exit_code, verdict.cascade.klass) == ("invalid", Exit.INVALID, "unknown")
    assert set(outcomes(verdict).values()) == {"invalid"}
    assert "CPU" in verdict.sentence


@pytest.mark.parametrize("kind", ["baseline", "fault"])
def test_one_arm_alone_is_a_clear_inconclusive(tmp_path, kind):
    folder = build_record(tmp_path / "run", **STACK)
    record = read(folder)
    arm = record.arm(f"{kind}-1")
    numbers = (column.name for column in SAMPLE_COLUMNS if not column.is_word)
    columns = {name: getattr(arm, name) for name in numbers}
    columns["endpoint"] = np.array(arm.endpoint_names)[arm.endpoint]
    columns["error"] = np.array(arm.error_names)[arm.error]
    document = json.loads((folder / "run.json").read_text())
    info = {key: document[key] for key in ("scenario", "phases", "target", "faults")}
    arms = [{"name": f"{kind}-1", "kind": kind, "duration_s": 30.0}]
    verdict = analyse(read(write_record(tmp_path / "one", info=info, arms=arms, samples={f"{kind}-1": columns})))
    assert (verdict.outcome, verdict.exit_code) == ("inconclusive", Exit.INCONCLUSIVE)
    assert verdict.cascade.klass == ("none" if kind == "baseline" else "unknown")
    assert f"`{kind}-1`" in verdict.comparisons[0].why


ODD = {
    "three requests": {"seconds": 3, "rate": 1, "fault_window": (1, 2)},
    "one second": {"seconds": 1, "rate": 50, "fault_window": (0.4, 0.7)},
    "all errors": {"baseline_error": 1.0, "fault_error": 1.0},
    "no rows": {"rate": 0.01, "fault_window": (1, 2)},
    "fault to the end": {"fault_window": (14.3, 30.0)},
    "fault after the end": {"seconds": 10, "fault_window": (12.0, 14.0)},
    "fault in the warm-up": {"fault_window": (0.5, 3.0)},
    "slower than the timeout": {"latency_ms": 5000.0},
    "no timeout known": {"edit": edit_json(scenario={"name": "x", "expect": list(EXPECT)})},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_records_have_an_outcome_and_never_pass_by_accident(judge, tmp_path, name):
    verdict = judge(**ODD[name])
    write(verdict, tmp_path / "verdict.json")
    assert verdict.sentence.endswith(".")
    if name in ("three requests", "one second", "no rows", "fault after the end"):
        assert verdict.outcome == "inconclusive"


def test_a_check_that_breaks_is_inconclusive_with_the_reason(judge, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(comparisons, "compare", broken)
    verdict = judge()
    assert verdict.outcome == "inconclusive"
    assert "no such luck" in verdict.comparisons[0].why


def test_an_expectation_that_cannot_be_read_is_inconclusive(judge):
    verdict = judge(expect=["everything is fine"])
    assert (verdict.outcome, verdict.comparisons[0].outcome) == ("inconclusive", "inconclusive")


def test_the_same_record_gives_the_same_bytes(judge, tmp_path):
    for name in ("a", "b"):
        write(judge(fault_error={"checkout": 0.2}, retries=2), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
