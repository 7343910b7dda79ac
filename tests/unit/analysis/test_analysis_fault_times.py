"""The verdict says when faults really happened, and what ended a run."""

import json
from pathlib import Path
from typing import Any

from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.analysis.verdict import FaultTimes, Verdict
from harness.record.reader import read

MS = 1_000_000


def _verdict(folder: Path, events: list[dict[str, Any]]) -> Verdict:
    build_record(folder, seconds=40, rate=20, abort=any(one["kind"] == "abort" for one in events))
    kept = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    kept = [one for one in kept if one["kind"].startswith("phase.")]
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in kept + events))
    return analyse(read(folder, integrity=False))


def _event(kind: str, t_ms: int, **fields: Any) -> dict[str, Any]:
    fault = {"fault": "redis-down"} if kind.startswith("fault.") else {}
    return {"t_ns": t_ms * MS, "arm": "fault-1", "kind": kind, **fault, **fields}


WHOLE = [
    _event("fault.requested", 15_012),
    _event("fault.active", 15_040),
    _event("fault.clear-requested", 25_001),
    _event("fault.clear", 25_090),
]


def test_a_fault_is_held_against_its_plan(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path / "run", WHOLE)
    assert verdict.fault_times == (
        FaultTimes("fault-1", "redis-down", 15.0, 15.012, 12.0, 15.04, 28.0, 25.001, 25.09, 89.0),
    )
    assert verdict.stop is None
    assert json.loads(json.dumps(verdict.to_json()))["fault_times"][0]["late_ms"] == 12.0


def test_what_was_never_seen_is_left_open(tmp_path: Path) -> None:
    (one,) = _verdict(tmp_path / "run", [WHOLE[0], WHOLE[2]]).fault_times
    assert (one.active_s, one.active_after_ms, one.clear_s, one.clear_after_ms) == (None, None, None, None)
    assert one.asked_s == 25.001


def test_an_abort_is_told_with_what_became_of_the_fault(tmp_path: Path) -> None:
    abort = _event("abort", 24_600, reason="error-rate > 5% for 1s: it was 31% at 24.5 s")
    verdict = _verdict(tmp_path / "back", [*WHOLE[:2], abort, *WHOLE[2:]])
    assert verdict.stop is not None
    assert round(verdict.stop.back_after_s or 0, 3) == 0.49
    assert (
        "An abort condition (error-rate > 5% for 1s: it was 31% at 24.5 s) ended the run 24.6 s into fault-1, "
        "every fault was gone 0.5 s later" in verdict.sentence
    )
    verdict = _verdict(tmp_path / "there", [*WHOLE[:2], abort])
    assert "not every fault was seen to be gone after that" in verdict.sentence
    verdict = _verdict(tmp_path / "none", [abort])
    assert "no fault was on" in verdict.sentence
