"""The page around the sections: head, verdict, contents, styles, and the scripts that draw the charts.

A content security policy lets the page load nothing and run nothing but the two scripts it is written with.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
from collections.abc import Sequence
from importlib import resources

from plotly.offline import get_plotlyjs

from harness import __version__
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Markup, el, script_json
from harness.report.sections import Part, Section

_LONG = 130
_ASSETS = resources.files("harness.report") / "assets"


def page(context: Context, drawn: Sequence[tuple[Section, Part]]) -> str:
    """The document. Scripts, the packed chart library and its data are only in it when there is a chart."""
    figures = [figure.to_json() for _, part in drawn for figure in part.figures]
    script = (_ASSETS / "report.js").read_text(encoding="utf-8")
    body = el(
        "body",
        el("a", "Skip to the report", href="#report", class_="skip"),
        _banner(context),
        _contents([section for section, _ in drawn]),
        el("main", [_section(section, part) for section, part in drawn], id="report", tabindex=-1),
        _footer(context),
        [
            el("script", script_json(figures), type="application/json", id="figures"),
            el("script", Markup(_packed_plotly()), type="text/plain", id="plotly"),
            el("script", Markup(script)),
        ]
        if figures
        else None,
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{words.headline(context.verdict).word} – {context.verdict.scenario}"),
        el("link", rel="icon", href="data:,"),
        el("style", Markup((_ASSETS / "report.css").read_text(encoding="utf-8"))),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _banner(context: Context) -> Markup:
    """The verdict: colour, icon, word, sentence; and which run it is about."""
    verdict = context.verdict
    sign = words.headline(verdict)
    first, rest = words.split(verdict.sentence)
    started = numbers.moment(context.record.info.arms[0].start_utc) if context.record.info.arms else ""
    variant = f", variant {verdict.variant}" if verdict.variant else ""
    return el(
        "header",
        el("p", el("strong", verdict.scenario), variant, class_="which"),
        el(
            "div",
            el("span", sign.icon, class_="stamp", aria_hidden="true"),
            el(
                "div",
                el("p", sign.word, class_="word"),
                el("h1", first, class_="long" if len(first) > _LONG else None),
                el("p", rest or sign.meaning, class_="meaning"),
            ),
            class_=f"verdict {sign.tone}",
        ),
        el("p", _facts(context, started), class_="facts"),
    )


def _facts(context: Context, started: str) -> list[Markup]:
    arms = context.record.info.arms
    requests = len(context.baseline.intended_s) + len(context.fault.intended_s)
    facts = [
        ("run", context.verdict.run_id),
        ("started", started),
        ("arms", f"{len(arms)} of {numbers.seconds(context.duration_s)}"),
        ("requests", numbers.whole(requests)),
    ]
    return [el("span", f"{name} ", el("b", value)) for name, value in facts if value]


def _contents(listed: Sequence[Section]) -> Markup:
    links = [el("li", el("a", section.short, href=f"#{section.id}")) for section in listed]
    return el("nav", el("ol", links), aria_label="Contents")


def _section(section: Section, part: Part) -> Markup:
    heading = f"{section.id}-heading"
    return el("section", el("h2", section.title, id=heading), part.html, id=section.id, aria_labelledby=heading)


def _footer(context: Context) -> Markup:
    versions = context.record.info.versions
    recorded = versions.get("harness", __version__) if isinstance(versions, dict) else __version__
    return el(
        "footer",
        el(
            "p",
            f"Recorded by load-fault-harness {recorded}, drawn from the record by {__version__}. "
            "Charts: plotly.js, MIT licence.",
        ),
    )


def _policy(script: str) -> str:
    """Nothing is loaded; only our script and the unpacked chart library, known by their digests, may run."""
    allowed = " ".join(f"'sha256-{_digest(text)}'" for text in (script, get_plotlyjs()))
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _packed_plotly() -> str:
    """plotly.js from the installed package, compressed, as text."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
