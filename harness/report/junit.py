"""junit.xml: one case per expectation and one for the run itself, for whatever reads JUnit in continuous integration.

JUnit knows no `inconclusive`: such an expectation is a skipped case with its reason, and the exit code tells the rest.
An invalid or aborted run is an error of the case `the run is valid`, so that it never looks green.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from harness.analysis.verdict import Comparison, Verdict
from harness.report import numbers, words
from harness.report.atomic import write_text
from harness.report.markup import clean

_TAGS = {"fail": "failure", "inconclusive": "skipped", "invalid": "skipped", "aborted": "skipped"}


def write_junit(verdict: Verdict, path: Path) -> None:
    """Write the verdict as JUnit XML to `path` in one step."""
    write_text(path, render_junit(verdict))


def render_junit(verdict: Verdict) -> str:
    """The XML document."""
    name = clean(f"{verdict.scenario} ({verdict.variant})" if verdict.variant else verdict.scenario)
    cases = [_expectation(comparison, name) for comparison in verdict.comparisons]
    if _spread_unasked(verdict):
        cases.append(_case("the damage stays where it started", name, "failure", verdict.cascade.sentence))
    cases.append(_run(verdict, name))
    tags = Counter(child.tag for case in cases for child in case)
    totals = {
        "tests": str(len(cases)),
        "failures": str(tags["failure"]),
        "errors": str(tags["error"]),
        "skipped": str(tags["skipped"]),
        "time": "0",
    }
    suites = ET.Element("testsuites", {"name": "harness", **totals})
    suite = ET.SubElement(suites, "testsuite", {"name": name, **totals})
    properties = ET.SubElement(suite, "properties")
    for key, value in (
        ("run_id", verdict.run_id),
        ("outcome", verdict.outcome),
        ("cascade", verdict.cascade.klass),
        ("exit_code", int(verdict.exit_code)),
        ("sentence", verdict.sentence),
        *((("repeats", " ".join(words.repeats(verdict))),) if verdict.repeats else ()),
    ):
        ET.SubElement(properties, "property", {"name": key, "value": clean(value)})
    suite.extend(cases)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _expectation(comparison: Comparison, suite: str) -> ET.Element:
    detail = [comparison.why]
    for arm, value in (("baseline", comparison.baseline), ("with the fault", comparison.fault)):
        if value is not None:
            detail.append(f"{arm}: {numbers.level(comparison, value)}")
    if comparison.difference is not None:
        detail.append(f"difference: {numbers.difference(comparison)}, interval of {numbers.confidence([comparison])}")
    if comparison.p_adjusted is not None:
        detail.append(f"p, adjusted for all expectations: {numbers.number(comparison.p_adjusted)}")
    return _case(
        comparison.expectation, suite, _TAGS.get(comparison.outcome), comparison.why or comparison.outcome, detail
    )


def _run(verdict: Verdict, suite: str) -> ET.Element:
    name = "the run is valid"
    if not verdict.validity.valid or verdict.outcome == "invalid":
        reasons = verdict.validity.reasons or (verdict.sentence,)
        return _case(name, suite, "error", "; ".join(reasons), reasons)
    if verdict.outcome == "aborted":
        return _case(name, suite, "error", verdict.sentence)
    return _case(name, suite, None, "", verdict.validity.reasons)


def _spread_unasked(verdict: Verdict) -> bool:
    """Whether damage spread or stayed although no expectation asks about it; it must not look green either."""
    asked = any(comparison.metric == "cascade" for comparison in verdict.comparisons)
    return verdict.cascade.klass in ("cascading", "metastable") and not asked


def _case(name: str, suite: str, tag: str | None, message: str, detail: list[str] | tuple[str, ...] = ()) -> ET.Element:
    case = ET.Element("testcase", {"classname": suite, "name": clean(name), "time": "0"})
    text = clean("\n".join(detail) or message)
    if tag:
        kind = {"failure": "expectation", "error": "run", "skipped": "undecided"}[tag]
        ET.SubElement(case, tag, {"message": clean(message), "type": kind}).text = text
    elif text:
        ET.SubElement(case, "system-out").text = text
    return case
