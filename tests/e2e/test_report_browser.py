"""The report in a real Chromium: nothing loaded, nothing on the console, charts drawn, readable without scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_stories
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import read
from harness.report.html import write_html

REMEDY = "install Chromium (apt-get install chromium) and Playwright (pip install playwright)"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
ARGUMENTS = [*QUIET, "--disable-component-update", "--disable-sync"]
CHARTS = {
    "chart-errors", "chart-p95", "chart-work", "chart-endpoints", "chart-percentiles", "chart-ecdf", "chart-heat",
    "chart-pool", "chart-workers", "chart-queue",
}  # fmt: skip


def give_up(reason: str) -> None:
    text = f"{reason}: {REMEDY}"
    if os.environ.get("HARNESS_REQUIRE_BROWSER") == "1":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        give_up("Playwright is not installed")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        give_up(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collapse")
    path = folder / "report.html"
    write_html(*report_stories.collapse(folder), path)
    return path


class Visit:
    """A page with the report, and everything that it said or asked for."""

    def __init__(self, browser: Any, report: Path, *, width: int = 1200, **context: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **context)
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(report.as_uri())

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()

    def wait_for_charts(self) -> None:
        self.page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_charts_are_drawn_quietly_and_nothing_is_loaded(browser: Any, report: Path, scheme: str, width: int) -> None:
    with Visit(browser, report, width=width, color_scheme=scheme) as visit:
        visit.wait_for_charts()
        drawn = visit.page.eval_on_selector_all(".chart.drawn", "all => all.map(one => one.id)")
        assert set(drawn) == CHARTS
        lines = "document.querySelectorAll('#chart-errors .scatterlayer .trace path.js-line').length"
        assert visit.page.evaluate(lines) == 2
        assert visit.page.evaluate("document.querySelectorAll('#chart-endpoints .heatmaplayer image').length") == 1
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.said == []
        assert visit.asked == [report.as_uri()]


def test_headings_and_landmarks_are_there(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        page = visit.page
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.get_by_role("heading", level=2).count() == 11
        for landmark in ("banner", "navigation", "main", "contentinfo"):
            assert page.get_by_role(landmark).count() == 1
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"


def test_charts_follow_a_change_of_colour_scheme(browser: Any, report: Path) -> None:
    colour = "getComputedStyle(document.querySelector('#chart-errors path.js-line')).stroke"
    with Visit(browser, report, color_scheme="light", bypass_csp=True) as visit:
        visit.wait_for_charts()
        light = visit.page.evaluate(colour)
        visit.page.emulate_media(color_scheme="dark")
        visit.page.wait_for_function(f"{colour} !== '{light}'", timeout=30_000)
        assert visit.said == []


def test_without_scripts_verdict_numbers_and_tables_are_readable(browser: Any, report: Path) -> None:
    with Visit(browser, report, java_script_enabled=False) as visit:
        text = visit.page.inner_text("body")
        assert "FAIL: METASTABLE FAILURE" in text.upper()
        assert "+62 points" in text
        assert "The chart needs JavaScript" in text
        assert visit.page.locator("table").count() > 10
        assert visit.said == []


def test_prints_on_paper_with_charts_that_fit(browser: Any, report: Path) -> None:
    with Visit(browser, report, color_scheme="dark") as visit:
        visit.wait_for_charts()
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        visit.page.emulate_media(media="print")
        widths = visit.page.eval_on_selector_all(".chart svg.main-svg", "all => all.map(one => one.clientWidth)")
        assert widths
        assert max(widths) <= 700
        assert visit.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_rules_hold(browser: Any, report: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    with Visit(browser, report, color_scheme=scheme, bypass_csp=True) as visit:
        visit.wait_for_charts()
        found = axe.run(visit.page)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [1200, 400])
def test_repeats_and_everything_that_changed_are_readable(browser: Any, tmp_path: Path, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    record = read(
        build_record(tmp_path / "run", rate=60, pairs=4, fault_error={"checkout": 0.4}, expect=["error-rate < 5%"])
    )
    write_html(record, analyse(record), tmp_path / "report.html")
    with Visit(browser, tmp_path / "report.html", width=width, bypass_csp=True) as visit:
        visit.wait_for_charts()
        assert "fault-2" in visit.page.inner_text("#repeats")
        assert "error rate of checkout" in visit.page.inner_text("#changes")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert axe.run(visit.page).violations_count == 0
        assert visit.said == []


def test_a_hostile_name_runs_nothing(browser: Any, tmp_path: Path) -> None:
    import dataclasses

    record, verdict = report_stories.contained(tmp_path)
    attack = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    hostile = dataclasses.replace(verdict, sentence=attack, hypothesis=attack, scenario=attack)
    write_html(record, hostile, tmp_path / "report.html")
    with Visit(browser, tmp_path / "report.html") as visit:
        visit.wait_for_charts()
        assert visit.page.title() != "owned"
        assert visit.said == []
        assert visit.asked == [(tmp_path / "report.html").as_uri()]
