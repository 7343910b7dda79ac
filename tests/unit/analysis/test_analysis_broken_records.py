"""Records that nobody would write on purpose: each ends in a clear outcome or error, and none in a quiet pass."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from record_builder import NS, build_record, seal

from harness.analysis.analyse import analyse
from harness.analysis.verdict import write
from harness.errors import RecordError
from harness.record.reader import read

EXPECT = (
    "error-rate increases by < 1pp",
    "p95 of checkout increases by < 50%",
    "p99.9 increases by < 50%",
    "goodput decreases by < 5%",
    "recovers within 10s",
    "no cascade",
)
GAUGES = (
    "workers_busy",
    "workers_limit",
    "pool_in_use",
    "pool_size",
    "pool_waiting",
    "pool_wait_seconds",
    "cpu_percent",
)


def edit_samples(change):
    """Changes the table of samples, and run.json's number of rows with it."""

    def edit(folder):
        table = change(pq.read_table(folder / "samples.parquet"))
        pq.write_table(table, folder / "samples.parquet")
        document = json.loads((folder / "run.json").read_text())
        for arm in document["arms"]:
            arm["rows"] = pc.sum(pc.equal(table["arm"].cast("string"), arm["name"])).as_py() or 0
        (folder / "run.json").write_text(json.dumps(document))

    return edit


def edit_info(change):
    def edit(folder):
        document = json.loads((folder / "run.json").read_text())
        change(document)
        (folder / "run.json").write_text(json.dumps(document))

    return edit


def in_arm(table, name):
    return np.array(pc.equal(table["arm"].cast("string"), name))


def with_column(table, name, values):
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(name), pa.array(values).cast(table.schema.field(name).type))


TIMES = ("intended_ns", "start_ns", "end_ns")


def shifted(arm, from_s, by_s, *, rows_stay_whole=True):
    """As if that arm's clock had jumped by `by_s` at `from_s`, between two requests or in the middle of some."""

    def change(table):
        due = table["intended_ns"].to_numpy()
        for name in TIMES:
            values = table[name].to_numpy().copy()
            values[in_arm(table, arm) & ((due if rows_stay_whole else values) >= from_s * NS)] += int(by_s * NS)
            table = with_column(table, name, values)
        return table

    return edit_samples(change)


def doubled(table):
    """Every row of the fault arm twice."""
    rows = np.arange(table.num_rows)
    return table.take(np.concatenate((rows, rows[in_arm(table, "fault-1")])))


def readings(value):
    return [
        (arm, float(t_s), component, metric, value)
        for arm in ("baseline-1", "fault-1")
        for t_s in range(0, 30, 2)
        for component in ("app-1", "postgres", "load-worker-1")
        for metric in GAUGES
    ]


def phases(*given):
    def change(document):
        document["phases"] = [{"name": name, "start_s": start, "end_s": end} for name, start, end in given]

    return edit_info(change)


STORIES = {
    "no errors at all": {},
    "all errors": {"baseline_error": 1.0, "fault_error": 1.0},
    "an endpoint with three requests": {"endpoints": [f"e{n}" for n in range(40)], "rate": 4.0},
    "an empty phase": {"edit": phases(("warm-up", 0, 5), ("steady", 5, 25), ("nothing", 25, 25), ("recovery", 25, 40))},
    "a phase that ends before it starts": {"edit": phases(("warm-up", 0, 5), ("steady", 25, 10))},
    "no phases": {"edit": phases()},
    "a clock that jumps ahead": {"edit": shifted("fault-1", 12, 7.0)},
    "a clock that jumps far ahead": {"edit": shifted("baseline-1", 12, 1e6)},
    "a clock that jumps back": {"edit": shifted("fault-1", 20, -6.0)},
    "NaN telemetry": {"telemetry": readings(float("nan"))},
    "infinite telemetry": {"telemetry": readings(float("inf"))},
    "negative telemetry": {"telemetry": readings(-1.0)},
    "arms of one second": {"seconds": 1, "rate": 50, "fault_window": (0.4, 0.7)},
    "unequal arms": {"abort": True},
    "an arm without rows": {"edit": edit_samples(lambda table: table.filter(~in_arm(table, "fault-1")))},
    "a baseline without rows": {"edit": edit_samples(lambda table: table.filter(~in_arm(table, "baseline-1")))},
    "nothing answered in time": {"latency_ms": 5000.0},
    "every arrival at one instant": {
        "edit": edit_samples(lambda table: with_column(table, "intended_ns", np.zeros(table.num_rows, dtype=np.int64)))
    },
}
NEVER_PASS = {
    "all errors",
    "an arm without rows",
    "a baseline without rows",
    "arms of one second",
    "nothing answered in time",
    "every arrival at one instant",
    "unequal arms",
}


@pytest.mark.parametrize("name", STORIES)
def test_an_odd_record_has_a_clear_outcome(tmp_path, name):
    story = dict(STORIES[name])
    edit = story.pop("edit", None)
    folder = build_record(tmp_path / "run", **{"seconds": 40.0, "fault_window": (15.0, 25.0), "expect": EXPECT} | story)
    if edit is not None:
        edit(folder)
        seal(folder)
    verdict = analyse(read(folder))
    write(verdict, tmp_path / "verdict.json")
    assert verdict.sentence.endswith(".")
    assert all(comparison.why.endswith(".") for comparison in verdict.comparisons)
    if name in NEVER_PASS:
        assert verdict.outcome != "pass"
        assert any(comparison.outcome != "pass" for comparison in verdict.comparisons)


DAMAGES = {
    "duplicate rows": (edit_samples(doubled), "column seq, row 1: .* without gaps"),
    "truncated Parquet": (
        lambda folder: (folder / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes()[:-900]),
        "truncated or damaged",
    ),
    "a clock that jumps back in a request": (
        shifted("fault-1", 20, -6.0, rows_stay_whole=False),
        "the attempt ends before its start_ns",
    ),
    "an arm twice": (edit_info(lambda document: document["arms"].append(document["arms"][0])), "given twice"),
    "an arm of negative length": (edit_info(lambda document: document["arms"][0].update(duration_s=-1)), "duration_s"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_refused_with_the_reason(tmp_path, name):
    damage, reason = DAMAGES[name]
    folder = build_record(tmp_path / "run", expect=EXPECT)
    damage(folder)
    if name != "truncated Parquet":
        seal(folder)
    with pytest.raises(RecordError, match=reason):
        read(folder, integrity=False)
