from __future__ import annotations

import base64
import dataclasses
import gzip
import html.parser
import itertools
import json
import re
from pathlib import Path

import pytest
import report_stories
from plotly.offline import get_plotlyjs
from record_builder import build_record

from harness.analysis.verdict import Cascade, Factor, Interval, Onset, Step, Validity, Verdict
from harness.exits import Exit
from harness.record.reader import Record, read
from harness.report.html import render_html, write_html
from harness.report.sections import sections

EVIL = "</script><img src=x onerror=alert(1)>\u2028'\"&<b>{{7*7}}"


@pytest.fixture(scope="module")
def collapse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Verdict]:
    return report_stories.collapse(tmp_path_factory.mktemp("collapse"))


@pytest.fixture(scope="module")
def page(collapse: tuple[Record, Verdict]) -> str:
    return render_html(*collapse)


class Outline(html.parser.HTMLParser):
    """Headings, tags in order, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if tag not in ("meta", "link", "br", "img"):
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._in, f"</{tag}> closes nothing"
        assert self._in.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._in):
            self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_verdict_has_colour_icon_and_word_before_anything_else(page: str, collapse: tuple[Record, Verdict]) -> None:
    verdict = collapse[1]
    banner = page[page.index("<header") : page.index("</header>")]
    assert 'class="verdict bad"' in banner
    assert "✗" in banner
    assert "Fail: metastable failure" in banner
    assert verdict.sentence in banner


def test_sections_come_in_the_order_of_a_decision(page: str) -> None:
    wanted = ["found", "numbers", "order", "over-time", "response-times", "endpoints", "telemetry", "method"]
    wanted += ["validity", "environment", "again"]
    assert re.findall(r'<section id="([^"]+)"', page) == wanted
    only_where_there_is_something = {"repeats", "changes", "acknowledged"}
    assert [section.id for section in sections() if section.id not in only_where_there_is_something] == wanted


def test_page_is_well_formed_and_structured_for_a_screen_reader(page: str) -> None:
    outline = Outline(page)
    assert outline.headings[0] == "h1"
    assert outline.headings.count("h1") == 1
    levels = [int(heading[1]) for heading in outline.headings]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert (
        len(outline.of("main")) == len(outline.of("header")) == len(outline.of("nav")) == len(outline.of("footer")) == 1
    )
    assert len(outline.of("caption")) == len(outline.of("table")) > 5
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [a for a in outline.of("div") if a.get("role") == "img"]
    assert len(charts) >= 9
    assert all(chart.get("aria-label") for chart in charts)


def test_everything_that_matters_is_there_without_scripts(page: str, collapse: tuple[Record, Verdict]) -> None:
    verdict = collapse[1]
    text = "".join(Outline(page).text)
    for words in (verdict.sentence, verdict.hypothesis, verdict.cascade.sentence, "0 of 5 expectations held"):
        assert words in text
    for comparison in verdict.comparisons:
        assert comparison.expectation in text
    for words in ("+62 points", "+57.3 to +66.4 points", "97.4 %", "timeout 761", "> 45 s", "still not recovered"):
        assert words in text
    assert "harness run scenarios/two-am.yaml --variant fragile --seed 7" in text


def test_what_broke_is_told_in_order_with_its_uncertainty(page: str) -> None:
    section = page[page.index('<section id="order"') : page.index('<section id="over-time"')]
    text = "".join(Outline(section).text)
    told = ["fault: postgres-slow", "pool_waiting of app-1", "p95 of checkout", "error rate of checkout"]
    told += ["error rate of catalog", "end of the recording"]
    places = [text.index(words) for words in told]
    assert places == sorted(places)
    assert "4.8 s after the fault, between 43.9 s and 46 s" in text
    assert "error rate of checkout → error rate of catalog (98 % sure)" in text
    assert "clients to checkout" in text
    assert "3.9 (3.8 to 4)" in text


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    outline = Outline(page)
    assert not [a for _, a in outline.tags if "src" in a or "srcset" in a]
    hrefs = {a["href"] or "" for _, a in outline.tags if "href" in a}
    assert all(href.startswith(("#", "data:,")) or re.fullmatch(r"[\w.]+", href) for href in hrefs)
    assert {"run.json", "samples.parquet", "telemetry.parquet", "events.jsonl"} <= hrefs
    assert "default-src &#x27;none&#x27;" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_library_inside_is_the_installed_plotly(page: str) -> None:
    packed = re.search(r'<script type="text/plain" id="plotly">([^<]+)</script>', page)
    assert packed is not None
    assert gzip.decompress(base64.b64decode(packed[1])).decode() == get_plotlyjs()


def test_same_record_same_bytes(collapse: tuple[Record, Verdict], tmp_path: Path) -> None:
    record, verdict = collapse
    write_html(record, verdict, tmp_path / "one.html")
    write_html(read(record.folder.root), verdict, tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_text_from_outside_is_only_ever_text(tmp_path: Path) -> None:
    build_record(tmp_path, endpoints=(EVIL, "plain"), fault_error={EVIL: 0.5}, seconds=30, rate=40)
    run_json = tmp_path / "run.json"
    info = json.loads(run_json.read_text())
    info["host"] = {EVIL: EVIL}
    info["phases"][1]["name"] = EVIL
    info["faults"][0]["params"] = {EVIL: EVIL}
    info["scenario"]["name"] = EVIL
    run_json.write_text(json.dumps(info))
    base = report_stories.collapse(tmp_path / "story")[1]
    verdict = dataclasses.replace(
        base,
        run_id=EVIL,
        scenario=EVIL,
        variant=EVIL,
        hypothesis=EVIL,
        sentence=EVIL,
        cascade=Cascade(
            "cascading",
            EVIL,
            base.cascade.evidence,
            (Onset(EVIL, 16.0, Interval(15.0, 17.0), resolved=False),),
            factors=(Factor(EVIL, EVIL, EVIL, "fault", 1.0, 2.0, 2.0, Interval(None, None), None),),
            chain=(EVIL,),
            path=(Step(EVIL, EVIL, 0.99),),
        ),
        comparisons=tuple(dataclasses.replace(c, expectation=EVIL, why=EVIL, endpoint=EVIL) for c in base.comparisons),
        endpoints=tuple(dataclasses.replace(e, endpoint=EVIL, errors_fault={EVIL: 3}) for e in base.endpoints),
        validity=Validity(False, (EVIL,)),
    )
    text = render_html(read(tmp_path), verdict)
    outline = Outline(text)
    assert not outline.of("img")
    assert not outline.of("b") or all(not a for a in outline.of("b"))
    assert len(outline.of("script")) == 3
    assert not [a for _, a in outline.tags if any(key.startswith("on") for key in a)]
    figures = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert figures is not None
    assert "\u2028" not in figures[1]
    assert "<" not in figures[1]
    drawn = json.loads(figures[1])
    rows = next(f for f in drawn if f["id"] == "chart-endpoints")["data"][0]["y"]
    assert "&lt;/script&gt;" in rows[0]


def test_long_runs_are_aggregated_and_the_page_stays_small(tmp_path: Path) -> None:
    endpoints = [f"/endpoint/number/{i}" for i in range(60)]
    seconds = 4 * 3600
    components = [f"app-{i}" for i in range(30)]
    telemetry = [
        ("fault-1", t, component, metric, 3.0)
        for t in range(0, seconds, 60)
        for component in components
        for metric in ("pool_in_use", "pool_waiting", "workers_busy", "queue_length")
    ]
    build_record(
        tmp_path, seconds=seconds, rate=4, endpoints=endpoints, fault_window=(600, 1200), fault_error=0.4,
        telemetry=telemetry,
    )  # fmt: skip
    verdict = report_stories.collapse(tmp_path / "story")[1]
    summary = verdict.endpoints[0]
    many = tuple(dataclasses.replace(summary, endpoint=name) for name in endpoints * 10)
    text = render_html(read(tmp_path), dataclasses.replace(verdict, endpoints=many))
    assert len(text.encode()) <= 3_000_000
    figures = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert figures is not None
    assert max(len(t["x"]) for f in json.loads(figures[1]) for t in f["data"]) <= 900


def test_run_without_anything_to_show_still_says_what_it_is(tmp_path: Path) -> None:
    record = read(build_record(tmp_path, seconds=6, rate=5, fault_window=(5.2, 5.4), valid=False))
    base = report_stories.collapse(tmp_path / "story")[1]
    verdict = dataclasses.replace(
        base, outcome="invalid", exit_code=Exit.INVALID, sentence="The load generator was the limit.", hypothesis="",
        comparisons=(), endpoints=(), cascade=Cascade("unknown", "It can't be told.", (), ()),
        validity=Validity(False, ("the load worker was short of CPU",)),
    )  # fmt: skip
    text = "".join(Outline(render_html(record, verdict)).text)
    assert "Invalid" in text
    assert "the load worker was short of CPU" in text
    assert "the scenario states no expectation" in text.lower()
