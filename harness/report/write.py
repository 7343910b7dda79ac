"""Everything that is derived from a record: verdict.json, report.html, junit.xml, summary.md."""

from __future__ import annotations

from pathlib import Path

from harness.analysis import verdict as verdicts
from harness.analysis.verdict import Verdict
from harness.record.reader import Record
from harness.report.atomic import replacing
from harness.report.html import write_html
from harness.report.junit import write_junit
from harness.report.markdown import write_summary


def write_all(record: Record, verdict: Verdict) -> list[Path]:
    """Write the four files into the record's folder, each in one step; returns their paths.

    The verdict comes first: should a report fail, the numbers are safe.
    """
    folder = record.folder
    with replacing(folder.verdict) as draft:
        verdicts.write(verdict, draft)
    write_junit(verdict, folder.junit)
    write_summary(verdict, folder.summary)
    write_html(record, verdict, folder.report)
    return [folder.verdict, folder.report, folder.junit, folder.summary]
