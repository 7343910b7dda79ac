from __future__ import annotations

import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import report_stories
from record_builder import build_record
from rich.console import Console

from harness.analysis.analyse import analyse
from harness.analysis.verdict import Cascade, Impact, Interval, Recovery, Validity, Verdict
from harness.record.reader import Record, read
from harness.report import numbers, words
from harness.report.html import render_html
from harness.report.junit import render_junit
from harness.report.markdown import render_summary
from harness.report.terminal import render, render_plain, render_text
from harness.report.write import write_all

EVIL = "\x1b[31m[red]</x> a|b `c` <img src=x>\n# head [l](u)\x00"


@pytest.fixture(scope="module")
def collapse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Verdict]:
    return report_stories.collapse(tmp_path_factory.mktemp("collapse"))


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    return report_stories.contained(tmp_path_factory.mktemp("contained"))[1]


@pytest.fixture
def evil(collapse: tuple[Record, Verdict]) -> Verdict:
    base = collapse[1]
    return dataclasses.replace(
        base,
        scenario=EVIL,
        variant=EVIL,
        hypothesis=EVIL,
        sentence=EVIL,
        cascade=dataclasses.replace(base.cascade, sentence=EVIL),
        comparisons=tuple(dataclasses.replace(c, expectation=EVIL, why=EVIL) for c in base.comparisons),
        validity=Validity(False, (EVIL,)),
    )


def cases(verdict: Verdict) -> dict[str, str]:
    """Test case name -> the tag of its result ("" when it passed)."""
    root = ET.fromstring(render_junit(verdict))
    return {c.get("name", ""): next((x.tag for x in c if x.tag != "system-out"), "") for c in root.iter("testcase")}


def test_junit_has_a_case_per_expectation_and_one_for_the_run(collapse: tuple[Record, Verdict]) -> None:
    found = cases(collapse[1])
    assert len(found) == len(collapse[1].comparisons) + 1
    assert found["error-rate of catalog increases by < 1pp"] == "failure"
    assert found["the run is valid"] == ""
    suite = ET.fromstring(render_junit(collapse[1])).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "5", "0")


def test_junit_of_a_pass_is_green(contained: Verdict) -> None:
    assert set(cases(contained).values()) == {""}


def test_junit_undecided_is_skipped_and_an_invalid_run_an_error(contained: Verdict) -> None:
    undecided = dataclasses.replace(contained.comparisons[0], outcome="inconclusive", why="too short")
    assert cases(dataclasses.replace(contained, comparisons=(undecided,)))[undecided.expectation] == "skipped"
    invalid = dataclasses.replace(contained, outcome="invalid", validity=Validity(False, ("no CPU left",)))
    assert cases(invalid)["the run is valid"] == "error"
    assert cases(dataclasses.replace(contained, outcome="aborted"))["the run is valid"] == "error"


def test_junit_is_not_green_when_damage_spread_though_nobody_asked(contained: Verdict) -> None:
    spread = dataclasses.replace(
        contained, comparisons=contained.comparisons[:1], cascade=Cascade("cascading", "Catalog fell too.", (), ())
    )
    assert "failure" in cases(spread).values()


def test_junit_survives_any_text(evil: Verdict) -> None:
    root = ET.fromstring(render_junit(evil))
    assert any("<img src=x>" in (case.get("name") or "") for case in root.iter("testcase"))


def test_summary_says_the_verdict_first_and_every_expectation(collapse: tuple[Record, Verdict]) -> None:
    lines = render_summary(collapse[1]).splitlines()
    assert lines[0] == "## ✗ Fail: metastable failure – two-am (fragile)"
    table = [line for line in lines if line.startswith("| ✗")]
    assert len(table) == 5
    assert "| +62 points (+57.3 to +66.4 points) |" in table[0]
    assert any("not recovered in the 45 s watched" in line for line in lines)


def test_summary_holds_no_markup_from_outside(evil: Verdict) -> None:
    text = render_summary(evil)
    assert "<img" not in text
    assert "\n# head" not in text
    assert "[l](u)" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


@pytest.mark.parametrize("start", ["- item", "+ item", "=== rule", "# heading", "1. item", "> quote"])
def test_summary_of_a_hypothesis_that_looks_like_a_block(contained: Verdict, start: str) -> None:
    text = render_summary(dataclasses.replace(contained, hypothesis=start))
    quoted = next(line for line in text.splitlines() if line.startswith("> "))
    assert not re.match(r"> ([-+=#>]|\d+[.)])", quoted)


def test_a_limit_is_told_as_a_value_and_a_recovery_never_seen_as_a_bound(contained: Verdict) -> None:
    limit = dataclasses.replace(
        contained.comparisons[0], expectation="p95 of catalog < 300ms", metric="p95", baseline=24.0, fault=210.0,
        difference=210.0, interval=Interval(190.0, 230.0), unit="ms", margin=300.0,
    )  # fmt: skip
    assert numbers.difference(limit) == "210 ms (190 to 230 ms)"
    never = dataclasses.replace(
        contained.comparisons[1], fault=44.0, difference=44.0, interval=Interval(44.0, None), unit="s"
    )
    assert numbers.difference(never) == "> 44 s"
    assert numbers.level(never, never.fault) == "> 44 s"


def test_plain_text_has_verdict_values_intervals_class_recovery_and_path(collapse: tuple[Record, Verdict]) -> None:
    text = render_plain(collapse[1], folder=Path("results/run-1"))
    for expected in (
        "FAIL: METASTABLE FAILURE",
        "✗ Fail: error-rate of catalog increases by < 1pp",
        "baseline 0 %, with fault 62 %, difference +62 points (+57.3 to +66.4 points)",
        "metastable: Checkout and catalog still failed",
        "not recovered in the 45 s watched",
        "4,310 of 5,204 requests failed from the fault's beginning on (2 of 5,204 in the same time without it): "
        "checkout 3,009, catalog 1,301",
        "results/run-1/report.html",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_text_for_a_pipe_is_plain_and_for_a_terminal_coloured(collapse: tuple[Record, Verdict]) -> None:
    folder = Path("results/run-1")
    pipe = Console(file=io.StringIO(), force_terminal=False)
    assert render_text(collapse[1], folder=folder, console=pipe) == render_plain(collapse[1], folder=folder)
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=120)
    shown = render_text(collapse[1], folder=folder, console=screen)
    assert "\x1b[" in shown
    assert "report.html" in shown


@pytest.mark.parametrize("width", [30, 80, 200])
def test_terminal_shows_hostile_text_as_it_is(evil: Verdict, width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=width)
    console.print(render(evil, folder=Path("x")))
    file = console.file
    assert isinstance(file, io.StringIO)
    assert "\x1b" not in file.getvalue()
    assert "[red]" in file.getvalue()
    assert "\x1b" not in render_plain(evil, folder=Path("x"))


def test_write_all_writes_four_files_that_can_be_rebuilt_byte_for_byte(collapse: tuple[Record, Verdict]) -> None:
    record, verdict = collapse
    written = write_all(record, verdict)
    assert [path.name for path in written] == ["verdict.json", "report.html", "junit.xml", "summary.md"]
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_all(record, verdict)] == before
    assert json.loads(before[0])["cascade"]["class"] == "metastable"
    assert not list(record.folder.root.glob(".*"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"), (1e-6, "< 0.01 %"), (0.0042, "0.42 %"), (0.1234, "12.3 %"), (0.99996, "> 99.99 %"),
        (1.0, "100 %"), (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_shares_are_never_rounded_to_nothing_or_all(value: float | None, text: str) -> None:
    assert numbers.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234.5, "1,234"), (0.01234, "0.0123"), (-3.5, "−3.5"),
        (100.0, "100"), (99.96, "100"), (1e9, "1,000,000,000"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert numbers.number(value) == text


def test_intervals_with_missing_bounds() -> None:
    assert numbers.interval(Interval(None, None), "pp") == ""
    assert numbers.interval(Interval(None, 2.0), "pp") == "up to +2 points"
    assert numbers.interval(Interval(-1.0, None), "%") == "at least −1 %"
    assert numbers.interval(Interval(-1.0, 1.0), "pp") == "−1 to +1 point"


@pytest.mark.parametrize("outcome", ["pass", "fail", "inconclusive", "invalid", "aborted"])
def test_every_outcome_has_an_icon_and_a_word(contained: Verdict, outcome: str) -> None:
    sign = words.headline(dataclasses.replace(contained, outcome=outcome))  # type: ignore[arg-type]
    assert sign.icon
    assert sign.word
    assert sign.meaning


def test_recovery_in_words() -> None:
    assert words.recovery(Recovery(True, 1.4, False, {})) == "1.4 s after the fault was gone"
    around = Recovery(True, 4.0, False, {}, Interval(3.0, 6.0))
    assert words.recovery(around) == "4 s after the fault was gone (3 s to 6 s)"
    assert words.recovery(Recovery(False, 30.0, True, {})) == "not recovered in the 30 s watched"
    assert words.recovery(Recovery(None, None, False, {})) == "can't be judged"


def test_impact_is_said_in_words():
    assert words.impact(None) == ""
    assert words.impact(Impact(0.0, 0.0, 0.0, 0, {})) == "no second differs from the baseline's"
    assert words.impact(Impact(0.488, 3.0, 3.0, 152, {})) == "at most 49 % of requests, for 3 s"
    late = words.impact(Impact(0.001, 2.0, 9.5, 0, {}))
    assert late == "at most < 1 % of requests, for 2 s, until 9.5 s after the fault began"


def test_first_sentence_is_set_apart_from_the_rest() -> None:
    assert words.split("Down for 10.0 s. The rest. More.") == ("Down for 10.0 s.", "The rest. More.")
    assert words.split("Only one") == ("Only one", "")


def test_a_collapse_that_the_scenario_expects_is_a_pass_but_not_a_green_one(contained: Verdict) -> None:
    sign = words.headline(dataclasses.replace(contained, cascade=Cascade("metastable", "It stayed.", (), ())))
    assert (sign.icon, sign.tone) == ("✓", "warn")
    assert "metastable" in sign.word


def test_a_closed_load_is_named_wherever_the_verdict_is_read(tmp_path: Path) -> None:
    folder = build_record(tmp_path / "closed", fault_error=0.5, expect=["no cascade"], model="closed")
    record = read(folder)
    verdict = analyse(record)
    assert verdict.validity.valid
    page = render_html(record, verdict)
    for said in (render_summary(verdict), render_plain(verdict, folder=folder), page):
        assert "the load was of the closed model" in said
        assert "coordinated omission" in said
    assert "<strong>Closed model</strong>" in page
    assert "so a slow system is not spared" not in page
    assert "closed model" not in render_plain(analyse(read(build_record(tmp_path / "open"))), folder=folder)


def test_a_closed_load_is_no_reason_for_being_invalid(tmp_path: Path) -> None:
    record = read(build_record(tmp_path, valid=False, model="closed"))
    assert not [reason for reason in analyse(record).validity.reasons if "closed" in reason]


def test_order_in_words(collapse: tuple[Record, Verdict], contained: Verdict) -> None:
    verdict = collapse[1]
    assert words.order(verdict) == "error rate of checkout before error rate of catalog"
    tied = dataclasses.replace(verdict, cascade=dataclasses.replace(verdict.cascade, path=()))
    assert words.order(tied).startswith("can't be told apart: pool_waiting of app-1, p95 of checkout")
    assert words.order(contained) == ""
