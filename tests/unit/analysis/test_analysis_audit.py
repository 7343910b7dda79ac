"""Acknowledged writes in the verdict: lost, doubled, there, or not looked up, which is never the same as there."""

import json
from pathlib import Path

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.analysis.verdict import Verdict
from harness.errors import IntegrityError, RecordError
from harness.exits import Exit
from harness.record.audit import AckedWrite, ArmAudit, AuditInfo
from harness.record.reader import read
from harness.report.html import render_html
from harness.report.junit import render_junit
from harness.report.markdown import render_summary
from harness.report.terminal import render_plain

SENTENCE = "no acknowledged write is lost or doubled"
FINE = ArmAudit(acknowledged=500, unacknowledged=2)


def writes(*keys: str) -> tuple[AckedWrite, ...]:
    return tuple(AckedWrite(key=key, acknowledged_s=15 + number / 10) for number, key in enumerate(keys))


def judged(folder: Path, *, pairs: int = 1, **arms: ArmAudit) -> Verdict:
    build_record(folder, expect=[SENTENCE], pairs=pairs)
    if arms:
        info = AuditInfo(
            endpoint="checkout", key="Idempotency-Key", arms={k.replace("_", "-"): v for k, v in arms.items()}
        )
        (folder / "audit.json").write_text(info.model_dump_json())
    return analyse(read(folder, integrity=False))


def test_every_write_is_there(tmp_path: Path) -> None:
    verdict = judged(tmp_path, baseline_1=FINE, fault_1=FINE)
    (comparison,) = verdict.comparisons
    assert (comparison.outcome, comparison.baseline, comparison.fault) == ("pass", 0, 0)
    assert comparison.why == "All 500 acknowledged writes are there once."
    assert verdict.exit_code == Exit.PASS


def test_one_lost_write_fails_and_is_named_everywhere(tmp_path: Path) -> None:
    lost = FINE.model_copy(update={"missing": writes("k1", "k2"), "doubled": writes("k3")})
    verdict = judged(tmp_path, baseline_1=FINE, fault_1=lost)
    (comparison,) = verdict.comparisons
    assert (comparison.outcome, comparison.fault, comparison.n_fault) == ("fail", 3, 500)
    assert "2 are missing: k1 (acknowledged at 15.00 s), k2" in comparison.why
    assert "1 is doubled: k3" in comparison.why
    assert verdict.exit_code == Exit.FAIL
    assert verdict.sentence.endswith("Of 500 acknowledged writes 2 are missing, 1 doubled.")
    assert [(one.arm, one.missing, one.doubled) for one in verdict.audit] == [("baseline-1", 0, 0), ("fault-1", 2, 1)]
    told = "500 acknowledged, 2 missing, 1 doubled; 2 there that nobody was told of"
    assert told in render_plain(verdict, folder=tmp_path)
    assert told in render_summary(verdict)
    assert "k2 (acknowledged at" in render_junit(verdict)


def test_thousands_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    lost = ArmAudit(acknowledged=5000, missing=writes(*(f"k{number:04}" for number in range(3000))))
    verdict = judged(tmp_path, baseline_1=FINE, fault_1=lost)
    assert verdict.audit[1].missing == 3000
    assert len(verdict.audit[1].writes) == 100
    assert "and 2,995 more" in verdict.comparisons[0].why


@pytest.mark.parametrize(
    ("arms", "why"),
    [
        ({}, "were not looked up after the fault arm"),
        ({"baseline_1": FINE}, "were not looked up after the fault arm"),
        ({"fault_1": ArmAudit(acknowledged=7, problem="it said nothing")}, "could not be looked up: it said nothing"),
        ({"fault_1": ArmAudit(acknowledged=0)}, "no write was acknowledged"),
    ],
)
def test_what_was_not_looked_up_is_not_taken_for_there(tmp_path: Path, arms: dict[str, ArmAudit], why: str) -> None:
    verdict = judged(tmp_path, **arms)
    (comparison,) = verdict.comparisons
    assert comparison.outcome == "inconclusive"
    assert why.lower() in comparison.why.lower()
    assert verdict.exit_code == Exit.INCONCLUSIVE


def test_a_loss_without_the_fault_is_told_and_not_held_against_it(tmp_path: Path) -> None:
    lost = FINE.model_copy(update={"missing": writes("k1")})
    (comparison,) = judged(tmp_path, baseline_1=lost, fault_1=FINE).comparisons
    assert comparison.outcome == "pass"
    assert "without the fault, of 500 acknowledged writes 1 is missing: k1" in comparison.why


def test_one_of_several_pairs_is_enough_to_fail(tmp_path: Path) -> None:
    lost = FINE.model_copy(update={"missing": writes("k1")})
    verdict = judged(tmp_path, pairs=2, baseline_1=FINE, fault_1=FINE, baseline_2=FINE, fault_2=lost)
    (comparison,) = verdict.comparisons
    assert comparison.outcome == "fail"
    assert comparison.why.startswith("It did not hold in 1 of 2 pairs of runs.")


def test_a_damaged_or_smuggled_in_audit_is_refused(tmp_path: Path) -> None:
    judged(tmp_path, fault_1=FINE)
    with pytest.raises(IntegrityError, match=r"no digest of audit\.json"):
        read(tmp_path)
    (tmp_path / "audit.json").write_text(json.dumps({"endpoint": "checkout"}))
    with pytest.raises(RecordError, match=r"audit\.json"):
        read(tmp_path, integrity=False)


def test_the_report_lists_what_was_lost_as_text(tmp_path: Path) -> None:
    lost = FINE.model_copy(update={"missing": writes(*(f"<b>{number}" for number in range(23)))})
    verdict = judged(tmp_path, baseline_1=FINE, fault_1=lost)
    page = render_html(read(tmp_path, integrity=False), verdict)
    part = page[page.index('<section id="acknowledged"') :]
    part = part[: part.index("</section>")]
    assert "&lt;b&gt;0" in part
    assert "&lt;b&gt;19" in part
    assert "&lt;b&gt;20" not in part
    assert "<b>" not in part
    assert "3 more are in audit.json" in part
