"""report.html: one file that needs nothing else, for somebody who decides and for whoever doubts it."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.verdict import Verdict
from harness.record.reader import Record
from harness.report.atomic import write_text
from harness.report.context import Context
from harness.report.page import page
from harness.report.sections import sections


def write_html(record: Record, verdict: Verdict, path: Path) -> None:
    """Write the report to `path` in one step. The same record and verdict give the same bytes."""
    write_text(path, render_html(record, verdict))


def render_html(record: Record, verdict: Verdict) -> str:
    """The whole page: verdict first, then every section that has something to show."""
    context = Context(record, verdict)
    drawn = [(section, part) for section in sections() if (part := section.draw(context)) is not None]
    return page(context, drawn)
