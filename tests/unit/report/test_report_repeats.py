"""What is said about repeated runs and about the full table, in every form of the report."""

import re
import xml.etree.ElementTree as ET

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import read
from harness.report.html import render_html
from harness.report.junit import render_junit
from harness.report.markdown import render_summary
from harness.report.terminal import render_plain, render_text

EXPECT = ("error-rate increases by < 1pp", "p95 of checkout increases by < 50%", "no cascade")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = build_record(
        tmp_path_factory.mktemp("repeats") / "run",
        seconds=30,
        rate=80,
        fault_window=(14.0, 21.0),
        pairs=3,
        fault_error={"checkout": 0.3},
        expect=EXPECT,
        dependencies={"catalog": ["app"], "checkout": ["app", "redis"]},
    )
    record = read(folder)
    return folder, record, analyse(record)


def test_the_terminal_says_that_the_claim_stands_on_the_pairs(run):
    folder, _, verdict = run
    shown = render_plain(verdict, folder=folder)
    assert "they stand on how 3 pairs of runs agree" in " ".join(shown.split())
    assert re.search(r"repeats .*of 3 pairs of runs: contained in 3", shown)
    assert re.search(r"together .*of 2 expectations on numbers, something is beyond its margin", shown)
    assert re.search(r"also .*numbers .*changed for sure", shown)
    assert render_text(verdict, folder=folder)


def test_the_summary_names_the_confidence_of_its_intervals(run):
    shown = render_summary(run[2])
    assert "Difference (90 % interval)" in shown
    assert "**Repeats:**" in shown


def test_junit_has_the_adjusted_p_and_the_pairs(run):
    suite = ET.fromstring(render_junit(run[2]))
    texts = [element.text or "" for element in suite.iter("failure")]
    assert any("adjusted for all expectations" in text for text in texts)
    assert any(one.get("name") == "repeats" for one in suite.iter("property"))


def test_the_report_shows_pair_by_pair_and_what_changed(run):
    _, record, verdict = run
    page = render_html(record, verdict)
    assert '<section id="repeats"' in page
    assert page.count("baseline-2, fault-2") == 1
    changes = page[page.index('<section id="changes"') :]
    assert "error rate of checkout" in changes
    assert "for exploring only" in changes


def test_one_pair_has_no_words_about_repeats(run, tmp_path):
    record = read(build_record(tmp_path / "run", rate=60, expect=EXPECT))
    verdict = analyse(record)
    assert "repeats" not in render_plain(verdict, folder=tmp_path)
    assert "95 % interval" in render_summary(verdict)
    assert '<section id="repeats"' not in render_html(record, verdict)
