"""The study counts arms directly; on a sample of pairs, records of every single request must give the same decision."""

from pathlib import Path

import numpy as np
import pytest
from record_builder import NS, write_record

from harness.analysis.analyse import analyse
from harness.analysis.cells import Cells
from harness.analysis.decision import decide
from harness.analysis.seconds import Seconds
from harness.calibrate.study import ASKED, Cell, layout_of, make_pairs
from harness.expectations import parse
from harness.record.reader import read
from harness.stats.logbins import EDGES_NS

ERRORS = Cell("errors", "wander 0.6", 60, 30, 20)
TIMES = Cell("times", "pauses", 30, 10, 20)
WHOLE = Cell("errors", "bursts", 60, 60, 20)


def rows(cells: Cells, seconds: Seconds) -> dict[str, np.ndarray]:
    """Requests that are counted as `cells`: evenly spread over their second, each at the lower edge of its bin."""
    second = np.repeat(np.arange(len(cells.arrivals)), cells.arrivals)
    rank = np.arange(len(second)) - (np.cumsum(cells.arrivals) - cells.arrivals)[second]
    intended = seconds.edges_ns[second] + rank * (NS // 1000)
    failed = rank < cells.failed[second]
    if cells.felt.any():
        bins = np.concatenate([np.repeat(np.arange(cells.felt.shape[1]), line) for line in cells.felt])
        took = EDGES_NS[cells.first_bin + bins - 1]
    else:
        took = np.full(len(second), 20_000_000)
    seq = np.arange(len(second))
    return {
        "worker": np.zeros(len(seq), dtype=np.int16),
        "seq": seq,
        "attempt": np.zeros(len(seq), dtype=np.int16),
        "first_seq": seq,
        "endpoint": np.full(len(seq), "get"),
        "intended_ns": intended,
        "start_ns": intended,
        "end_ns": intended + took,
        "status": np.where(failed, 500, 200),
        "error": np.where(failed, "http_5xx", ""),
        "bytes": np.zeros(len(seq), dtype=np.int32),
    }


@pytest.mark.parametrize("cell", [ERRORS, TIMES, WHOLE], ids=lambda cell: cell.name)
@pytest.mark.parametrize("trial", range(3))
def test_records_give_the_same_decisions(cell: Cell, trial: int, tmp_path: Path) -> None:
    layout = layout_of(cell)
    during = layout.seconds.during
    edges = layout.seconds.edges_ns
    window = int(edges[during.start]), int(edges[during.stop])
    arm_s = int(edges[-1]) / NS + 1  # the last client timeout is not compared
    for truth, (pair,) in make_pairs(cell, layout, trial, seed=3).items():
        events = [
            {"t_ns": at, "arm": "fault-1", "kind": kind, "fault": "f", "component": "c"}
            for at, kind in zip(window, ("fault.active", "fault.clear"), strict=True)
        ]
        folder = write_record(
            tmp_path / truth,
            info={
                "scenario": {"name": "made-up", "expect": list(ASKED[cell.numbers]), "load": {"timeout": "1s"}},
                "phases": [{"name": "steady", "start_s": 0.0, "end_s": arm_s}],
            },
            arms=[
                {"name": f"{kind}-1", "kind": kind, "pair": 1, "duration_s": arm_s} for kind in ("baseline", "fault")
            ],
            samples={"baseline-1": rows(pair.baseline, layout.seconds), "fault-1": rows(pair.fault, layout.seconds)},
            events=events,
        )
        verdict = analyse(read(folder))
        for text, found in zip(ASKED[cell.numbers], verdict.comparisons, strict=True):
            made = decide(parse(text), pair, during, layout.seconds.length_s(during))
            assert made.shown is not None
            assert (found.difference, found.interval.low) == (made.shown.value, made.shown.low)
            assert found.outcome == made.outcome, (truth, text, found.why, made.why)
