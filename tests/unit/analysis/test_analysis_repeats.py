"""Repeated runs: the pairs make the verdict together, and one that says nothing is left out by name."""

import json

import pytest
from record_builder import build_record, seal

from harness.analysis.analyse import analyse
from harness.analysis.over_pairs import Question, hold
from harness.analysis.verdict import Comparison, Interval
from harness.expectations import parse
from harness.record.reader import read

EXPECT = (
    "error-rate increases by < 1pp",
    "p95 of checkout increases by < 50%",
    "recovers within 10s",
    "no cascade",
)
RECORD = {
    "seconds": 30,
    "rate": 100,
    "fault_window": (14.0, 20.0),
    "pairs": 3,
    "expect": EXPECT,
    "dependencies": {"catalog": ["app"], "checkout": ["app", "redis"]},
}


@pytest.fixture
def judge(tmp_path):
    """The verdict of a repeated record; `edit` changes the folder before it is read."""

    def make(edit=None, **given):
        folder = build_record(tmp_path / "run", **{**RECORD, **given})
        if edit is not None:
            edit(folder)
            seal(folder)
        return analyse(read(folder))

    return make


def spoil(*names, reason="the load worker was short of CPU"):
    """The arms are invalid, as `harness run` writes it."""

    def edit(folder):
        document = json.loads((folder / "run.json").read_text())
        for arm in document["arms"]:
            arm["invalid"] = [reason] if arm["name"] in names else []
        document["validity"] = {"valid": False, "reasons": [f"{name}: {reason}" for name in names]}
        (folder / "run.json").write_text(json.dumps(document))

    return edit


def without_events_of(arm, kind):
    def edit(folder):
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        kept = [line for line in lines if not (line["arm"] == arm and line["kind"] == kind)]
        (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))

    return edit


def test_pairs_that_agree_make_a_claim_about_the_system(judge):
    verdict = judge()
    assert verdict.outcome == "pass"
    assert (verdict.repeats.used, verdict.repeats.classes) == (3, {"none": 3})
    assert "they stand on how 3 pairs of runs agree" in verdict.sentence
    errors = verdict.comparisons[0]
    assert errors.confidence == pytest.approx(0.9)
    assert errors.n_fault == 3 * 600
    assert "over 3 pairs of runs" in errors.why
    assert "held in 3 of 3 pairs" in verdict.comparisons[3].why


def test_damage_in_every_pair_fails_with_its_share(judge):
    verdict = judge(fault_error={"checkout": 0.4, "catalog": 0.4})
    assert (verdict.outcome, verdict.cascade.klass) == ("fail", "cascading")
    assert verdict.repeats.classes == {"cascading": 3}
    assert "cascading in 3 of 3 pairs" in verdict.cascade.sentence
    assert verdict.comparisons[0].outcome == "fail"
    assert 0 < verdict.comparisons[0].p_adjusted < 0.05
    assert verdict.composite.p == min(c.p_adjusted for c in verdict.comparisons if c.p_adjusted is not None)
    assert verdict.composite.p_sign_flips is None
    assert [pair.differences[EXPECT[0]] > 20 for pair in verdict.repeats.pairs] == [True] * 3


def test_an_invalid_pair_is_left_out_by_name(judge):
    verdict = judge(spoil("fault-2"))
    assert verdict.validity.valid
    assert (verdict.outcome, verdict.repeats.used) == ("pass", 2)
    assert "1 of 3 pairs left out" in verdict.sentence
    assert any("baseline-2, fault-2 is left out" in reason for reason in verdict.validity.reasons)
    assert [pair.used for pair in verdict.repeats.pairs] == [True, False, True]


def test_one_pair_that_is_left_speaks_for_itself_only(judge):
    verdict = judge(spoil("fault-2", "baseline-3"))
    assert verdict.repeats.used == 1
    assert "about the one pair that is left" in verdict.sentence
    assert verdict.comparisons[0].confidence == 0.95


def test_all_pairs_invalid_make_an_invalid_run(judge):
    verdict = judge(spoil("fault-1", "fault-2", "baseline-3"))
    assert (verdict.outcome, verdict.validity.valid) == ("invalid", False)


def test_what_concerns_the_whole_run_spares_no_pair(judge):
    def edit(folder):
        spoil("fault-2")(folder)
        document = json.loads((folder / "run.json").read_text())
        document["validity"]["reasons"].append("the run was interrupted")
        (folder / "run.json").write_text(json.dumps(document))

    assert judge(edit).outcome == "invalid"
    assert judge(valid=False).outcome == "invalid"


def test_a_pair_whose_fault_was_never_seen_is_left_out(judge):
    verdict = judge(without_events_of("fault-1", "fault.active"))
    assert verdict.outcome == "pass"
    assert [pair.used for pair in verdict.repeats.pairs] == [False, True, True]
    assert "never confirmed" in verdict.repeats.pairs[0].why or "no fault" in verdict.repeats.pairs[0].why


def test_an_arm_without_a_counterpart_is_named(judge):
    def edit(folder):
        document = json.loads((folder / "run.json").read_text())
        for arm in document["arms"]:
            if arm["name"] == "fault-3":
                arm["pair"] = 9
        (folder / "run.json").write_text(json.dumps(document))

    verdict = judge(edit)
    assert verdict.repeats.used == 2
    assert sum("has no counterpart" in reason for reason in verdict.validity.reasons) == 2


def test_the_table_stands_on_the_pairs_as_well(judge):
    rows = {(row.endpoint, row.metric, row.phase): row for row in judge(fault_error={"checkout": 0.4}).table}
    hit, spared = rows["checkout", "error-rate", "fault"], rows["catalog", "error-rate", "fault"]
    assert hit.p_adjusted < 0.05 < spared.p_adjusted
    assert hit.interval.low < hit.difference < hit.interval.high
    assert rows["checkout", "error-rate", "phase:recovery"].p_adjusted is None


def comparison(difference, half, *, unit="pp", margin=1.0, metric="error-rate", outcome="inconclusive", n=500):
    limits = Interval(difference - half, difference + half)
    return Comparison(
        "x", "", metric, "fault", 1.0, 2.0, difference, limits, unit, margin, None, outcome, "Because.", n, n
    )


def answer(text, each):
    answers, composite = hold({0: Question(parse(text), each)}, None)
    return answers[0], composite


def test_pairs_that_scatter_are_undecided_and_say_how_many_would_do():
    found, _ = answer("error-rate increases by < 1pp", [comparison(d, 0.1) for d in (0.2, 2.2, 1.3)])
    assert found.outcome == "inconclusive"
    assert "pairs of runs" in found.why


def test_a_failure_in_every_pair_is_a_failure_however_they_scatter():
    each = [comparison(d, 3, outcome="fail") for d in (20.0, 90.0)]
    assert answer("error-rate increases by < 1pp", each)[0].outcome == "fail"
    each[1] = comparison(0.5, 3)
    assert answer("error-rate increases by < 1pp", each)[0].outcome == "inconclusive"


def test_pairs_without_events_are_no_surer_than_their_counts():
    few = [comparison(0.0, 2.5, outcome="inconclusive") for _ in range(3)]
    assert answer("error-rate increases by < 1pp", few)[0].outcome == "inconclusive"
    many = [comparison(0.0, 0.3, outcome="pass") for _ in range(3)]
    assert answer("error-rate increases by < 1pp", many)[0].outcome == "pass"


def test_ratios_are_averaged_as_logarithms():
    each = [comparison(d, 1.0, unit="%", margin=150.0, metric="p95") for d in (100.0, 0.0, 100.0, 0.0)]
    found, _ = answer("p95 increases by < 150%", each)
    assert found.difference == pytest.approx(100 * (2**0.5 - 1))
    assert found.outcome == "pass"


def test_a_fall_of_goodput_is_worse_downwards():
    each = [comparison(d, 0.5, unit="%", margin=-5.0, metric="goodput") for d in (-20.0, -21.0, -19.5)]
    assert answer("goodput decreases by < 5%", each)[0].outcome == "fail"
    each = [comparison(d, 0.5, unit="%", margin=-5.0, metric="goodput") for d in (1.0, 0.0, -0.5)]
    assert answer("goodput decreases by < 5%", each)[0].outcome == "pass"


def test_a_far_quantile_needs_its_floor_of_arrivals_over_all_pairs():
    each = [comparison(10.0, 1.0, unit="%", margin=50.0, metric="p99.9", n=1500) for _ in range(4)]
    found, _ = answer("p99.9 increases by < 50%", each)
    assert found.outcome == "inconclusive"
    assert "7 pairs of runs would do" in found.why


def test_one_number_among_three_pairs_is_not_enough():
    each = [comparison(10.0, 1.0)] + [
        Comparison("x", "", "error-rate", "fault", None, None, None, Interval(None, None), "pp", 1.0, None,
                   "inconclusive", "No arrivals.", 0, 0) for _ in range(2)
    ]  # fmt: skip
    found, composite = answer("error-rate increases by < 1pp", each)
    assert (found.outcome, composite.p) == ("inconclusive", None)
    assert "only 1 of 3" in found.why.lower()


def test_sign_flips_speak_from_five_pairs_on():
    each = [comparison(d, 0.1) for d in (3.0, 3.4, 2.9, 3.3, 3.1)]
    assert answer("error-rate increases by < 1pp", each)[1].p_sign_flips == 1 / 32
    harmless = [comparison(d, 0.1) for d in (-0.2, 0.1, 0.0, 0.2, -0.1)]
    questions = {0: Question(parse("error-rate increases by < 1pp"), each)}
    questions[1] = Question(parse("error-rate of checkout increases by < 1pp"), harmless)
    assert hold(questions, None)[1].p_sign_flips <= 2 / 32
