"""The made-up pairs, the study that judges them, and the page made of it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.calibrate import carry_out as conductor
from harness.calibrate.carry_out import Result, carry_out
from harness.calibrate.noises import FAILURES, NOISES, counted, failures, response_times
from harness.calibrate.study import TRUTHS, Cell, cells, judge, quick_cells
from harness.calibrate.tables import HEADINGS, missed, page, rows, summary, to_json
from harness.cli import cli
from harness.paths import shipped
from harness.stats.logbins import quantile_bin

ERRORS = Cell("errors", "wander 0.3", 60, 30, 200)
TIMES = Cell("times", "independent", 30, 10, 200)
PAGE = shipped("scenarios").parent / "docs" / "calibration.md"


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_every_noise_keeps_the_share_of_failures_and_the_true_ratio(noise):
    rng = np.random.default_rng(1)
    arrivals, weather = np.full(4000, 50), noise.draw(rng, 4000)
    assert failures(rng, arrivals, weather, 0.0, slice(0, 0)).failed.sum() / 200_000 == pytest.approx(FAILURES, rel=0.2)
    drawn = response_times(rng, arrivals, weather, noise)
    one, other = (counted(arrivals, *drawn, factor, slice(0, 4000)) for factor in (1.0, 1.5))
    for share in (0.5, 0.95, 0.99):
        at = [float(x.middles_ms[int(quantile_bin(x.felt.sum(axis=0), share))]) for x in (one, other)]
        assert at[1] / at[0] == pytest.approx(1.5, rel=0.011)


def test_the_cells_cover_what_was_asked_for():
    every = cells()
    assert len({cell.name for cell in every}) == len(every)
    assert {cell.noise for cell in every} == set(NOISES)
    assert {cell.arm_s for cell in every} == {30, 60, 300}
    assert {cell.rate for cell in every} == {20, 200, 2000}
    assert {cell.repeats for cell in every} == {1, 3, 5}
    assert any(cell.must_find for cell in every)
    assert {cell.name for cell in quick_cells()} <= {cell.name for cell in every}


def test_a_cell_gives_the_same_whatever_its_trials_are_cut_into():
    whole = judge(ERRORS, range(6), 1)
    parts = [judge(ERRORS, part, 1) for part in (range(4), range(4, 6))]
    for truth in TRUTHS:
        assert whole["error-rate"][truth] == sum((part["error-rate"][truth] for part in parts), Counter())
        assert sum(whole["error-rate"][truth].values()) == 6


def test_decisions_are_rarely_wrong_and_find_what_is_there():
    found = judge(Cell("errors", "wander 0.3", 60, 60, 200), range(300), 1)["error-rate"]
    assert found["equal"]["fail"] == 0
    assert max(found["margin"]["fail"], found["margin"]["pass"]) <= 300 * 0.065 + 8
    assert found["beyond"]["fail"] >= 300 * 0.85


def test_pairs_of_runs_that_differ_by_themselves_are_judged_together():
    found = judge(Cell("errors", "wander 0.3", 60, 30, 200, 3, "runs"), range(20), 1)["error-rate"]
    assert found["equal"]["fail"] == 0
    assert found["beyond"]["fail"] >= 10


def test_a_study_goes_on_with_what_is_kept(tmp_path, monkeypatch):
    kept, said = tmp_path / "new" / "kept.jsonl", []
    first = carry_out([ERRORS, TIMES], 2, kept=kept, say=said.append, processes=1)
    assert [(result.cell, result.trials) for result in first] == [(ERRORS, 8), (TIMES, 2)]
    assert set(first[1].outcomes) == {"p50", "p95", "p99"}
    monkeypatch.setattr(conductor, "_results", lambda pool, left, times: iter(()) if not left else pytest.fail("again"))
    kept.write_text(kept.read_text() + '{"cell": "err')  # the machine went down while this was written
    assert carry_out([ERRORS, TIMES], 2, kept=kept, say=said.append, processes=1) == first
    assert "2 of 2 cells are in" in said[-1]


def test_kept_results_of_other_code_or_fewer_trials_are_not_used(tmp_path, monkeypatch):
    kept = tmp_path / "kept.jsonl"
    carry_out([TIMES], 1, kept=kept, say=lambda _: None, processes=1)
    asked = []
    monkeypatch.setattr(conductor, "_results", lambda pool, left, times: asked.append(list(left)) or iter(()))
    for times, code in ((2, None), (1, "other code")):
        if code:
            monkeypatch.setattr(conductor, "_fingerprint", lambda: code)  # noqa: B023  (used within the iteration)
        with pytest.raises(KeyError):
            carry_out([TIMES], times, kept=kept, say=lambda _: None, processes=1)
    assert asked == [[TIMES], [TIMES]]


def result(cell: Cell, **margin: int) -> Result:
    outcomes = {"equal": Counter(fail=0, **{"pass": 1000}), "beyond": Counter(fail=950, inconclusive=50)}
    return Result(cell, 1000, {"error-rate": {**outcomes, "margin": Counter(margin)}})


def test_goals_are_met_missed_or_within_error():
    strict, loose = Cell("errors", "bursts", 60, 30, 200), Cell("errors", "bursts", 30, 10, 200)
    goals = [
        rows([result(cell, fail=fails, inconclusive=1000 - fails)])[0].goal
        for cell, fails in ((strict, 60), (strict, 70), (strict, 90), (loose, 90), (loose, 140))
    ]
    assert goals == ["met", "within error", "missed", "met", "missed"]
    must = Cell("errors", "wander 0.3", 60, 60, 200)
    weak = Result(must, 1000, {"error-rate": {truth: Counter(inconclusive=1000) for truth in TRUTHS}})
    assert missed([weak]) == (f"error-rate of {must.name}",), "leaving everything open is not enough"


def test_the_page_and_the_command_agree_in_form():
    made = page([result(cell, inconclusive=1000) for cell in cells()])
    written = PAGE.read_text(encoding="utf-8")
    heading = f"| {' | '.join(HEADINGS)} |"
    assert heading in written
    assert made.split("## What was found")[0] == written.split("## What was found")[0]
    for numbers, title in (("errors", "## Errors"), ("times", "## Response times")):
        table = written.split(title)[1].split("\n## ")[0]
        for cell in cells():
            if cell.numbers == numbers:
                assert f"| {cell.name.partition(', ')[2]} |" in table


def test_the_page_and_the_command_agree_in_numbers():
    cell = Cell("errors", "wander 0.3", 60, 30, 200)
    line = next(
        text for text in PAGE.read_text("utf-8").splitlines() if text.startswith("| wander 0.3, 30 of 60 s at 200/s |")
    )
    columns = [text.strip() for text in line.strip("|").split("|")]
    trials = 400
    again = rows([Result(cell, trials, judge(cell, range(trials), conductor.SEED))])[0]
    for written, found in zip(columns[3:9], again.shares.values(), strict=True):
        share = float(written) / 100
        assert found == pytest.approx(share, abs=4 * (max(share * (1 - share), 0.01) / trials) ** 0.5)


def test_what_is_told():
    told = [result(ERRORS, fail=20, inconclusive=980)]
    assert "no goal is shown to be missed" in summary(told)
    data = json.loads(json.dumps(to_json(told)))
    assert data["numbers"][0]["outcomes"]["margin"]["fail"] == 20


def test_a_scenario_and_a_folder_belong_together(tmp_path: Path):
    for arguments in (["nothing-wrong"], ["--real", str(tmp_path)]):
        done = CliRunner().invoke(cli, ["calibrate", *arguments])
        assert done.exit_code == 2
        assert "belong together" in done.output
