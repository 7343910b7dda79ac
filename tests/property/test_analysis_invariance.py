"""The verdict is about the system: not about the order of rows, names, workers or who counts from when."""

import dataclasses
import tempfile
from functools import cache
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import Record, read
from harness.record.schema import SAMPLE_COLUMNS

EXPECT = (
    "error-rate increases by < 1pp",
    "error-rate of checkout < 60%",
    "p95 of checkout increases by < 50%",
    "goodput decreases by < 5%",
    "recovers within 10s",
    "no cascade",
)
ROWS = tuple(column.name for column in SAMPLE_COLUMNS if column.name != "arm")


@cache
def record() -> Record:
    with tempfile.TemporaryDirectory() as folder:
        return read(
            build_record(
                Path(folder) / "run",
                seconds=32,
                rate=60,
                fault_window=(14.0, 20.0),
                baseline_error=0.02,
                fault_error={"checkout": 0.4},
                retries=1,
                expect=EXPECT,
                dependencies={"catalog": ["app"], "checkout": ["app", "redis"]},
            )
        )


@cache
def plain() -> dict:
    return analyse(record()).to_json()


def changed(change) -> Record:
    """The record with every arm's samples changed."""
    whole = record()
    return dataclasses.replace(whole, _arms={name: change(whole.arm(name)) for name in ("baseline-1", "fault-1")})


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed):
    def shuffled(arm):
        order = np.random.default_rng(seed).permutation(len(arm.seq))
        return dataclasses.replace(arm, **{name: getattr(arm, name)[order] for name in ROWS})

    assert analyse(changed(shuffled)).to_json() == plain()


@settings(max_examples=10, deadline=None)
@given(st.permutations(["catalog", "checkout", "unused"]))
def test_the_codes_of_names_do_not_matter(names):
    def recoded(arm):
        codes = np.array([names.index(name) for name in arm.endpoint_names], dtype=np.int32)
        return dataclasses.replace(arm, endpoint=codes[arm.endpoint], endpoint_names=tuple(names))

    assert analyse(changed(recoded)).to_json() == plain()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 3))
def test_the_numbering_of_rows_and_workers_does_not_matter(offset, worker):
    def renumbered(arm):
        return dataclasses.replace(
            arm, seq=arm.seq + offset, first_seq=arm.first_seq + offset, worker=arm.worker + np.int16(worker)
        )

    assert analyse(changed(renumbered)).to_json() == plain()


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["1s", "1000ms", 1, 1.0]))
def test_the_unit_of_the_timeout_does_not_matter(timeout):
    whole = record()
    scenario = {**whole.info.scenario, "load": {"timeout": timeout}}
    info = whole.info.model_copy(update={"scenario": scenario})
    assert analyse(dataclasses.replace(whole, info=info)).to_json() == plain()


@pytest.mark.parametrize("name", ["aardvark", "zebra"])
def test_the_names_of_endpoints_do_not_matter(name):
    def renamed(arm):
        names = tuple(name if one == "catalog" else one for one in arm.endpoint_names)
        return dataclasses.replace(arm, endpoint_names=names)

    whole = changed(renamed)
    target = whole.info.target.model_copy(update={"dependencies": {name: ("app",), "checkout": ("app", "redis")}})
    found = analyse(dataclasses.replace(whole, info=whole.info.model_copy(update={"target": target}))).to_json()
    assert found["comparisons"] == plain()["comparisons"]
    key = itemgetter("endpoint", "metric", "phase")
    rows = [{**row, "endpoint": "catalog" if row["endpoint"] == name else row["endpoint"]} for row in found["table"]]
    assert sorted(rows, key=key) == sorted(plain()["table"], key=key)


def test_an_endpoint_that_nothing_happens_to_changes_nothing_but_multiplicity():
    def beside(arm):
        """The arm's catalogue once more under another name, its response times as they are."""
        again = np.flatnonzero(arm.endpoint == arm.endpoint_names.index("catalog"))
        renamed = {name: np.concatenate([getattr(arm, name), getattr(arm, name)[again]]) for name in ROWS}
        renamed["endpoint"][len(arm.seq) :] = len(arm.endpoint_names)
        offset = int(arm.seq.max()) + 1
        for name in ("seq", "first_seq"):
            renamed[name][len(arm.seq) :] += offset
        return dataclasses.replace(arm, endpoint_names=(*arm.endpoint_names, "ping"), **renamed)

    more = analyse(changed(beside)).to_json()
    own = [c for c in EXPECT if " of " in c]
    for one, other in zip(plain()["comparisons"], more["comparisons"], strict=True):
        if one["expectation"] in own:
            assert {**one, "p_adjusted": None} == {**other, "p_adjusted": None}
    rows = [{(r["endpoint"], r["metric"], r["phase"]): r for r in found["table"]} for found in (plain(), more)]
    for key, row in rows[0].items():
        if key[0]:
            assert (row["p"], row["difference"]) == (rows[1][key]["p"], rows[1][key]["difference"])
            if row["p_adjusted"] is not None:
                assert rows[1][key]["p_adjusted"] >= row["p_adjusted"]


@settings(max_examples=8, deadline=None)
@given(st.floats(0.05, 0.9), st.integers(2, 4))
def test_more_of_the_same_never_turns_a_clear_failure_into_a_pass(share, times):
    def several(arm):
        """Every arrival so many times, a little later each: the same system under more load."""
        parts = [{name: getattr(arm, name).copy() for name in ROWS} for _ in range(times)]
        offset = int(arm.seq.max()) + 1
        for number, part in enumerate(parts):
            for name in ("seq", "first_seq"):
                part[name] += number * offset
            for name in ("intended_ns", "start_ns", "end_ns"):
                part[name] += number * 1000
        return dataclasses.replace(arm, **{name: np.concatenate([part[name] for part in parts]) for name in ROWS})

    with tempfile.TemporaryDirectory() as folder:
        built = build_record(
            Path(folder) / "run", seconds=28, rate=50, fault_window=(14.0, 20.0), fault_error=share, expect=EXPECT[:4]
        )
        whole = read(built)
    more = dataclasses.replace(whole, _arms={name: several(whole.arm(name)) for name in ("baseline-1", "fault-1")})
    for one, other in zip(analyse(whole).comparisons, analyse(more).comparisons, strict=True):
        assert (one.outcome, other.outcome) not in (("fail", "pass"), ("pass", "fail"))
        assert one.outcome != "fail" or other.outcome == "fail"


@settings(max_examples=15, deadline=None)
@given(
    rate=st.sampled_from([1, 20, 80]),
    seconds=st.integers(1, 30),
    begin=st.floats(0, 20),
    lasts=st.floats(0.05, 15),
    error=st.floats(0, 1),
    latency=st.sampled_from([0.001, 20.0, 2000.0]),
    recover=st.booleans(),
)
def test_any_record_has_a_verdict_that_can_be_written(rate, seconds, begin, lasts, error, latency, recover):
    with tempfile.TemporaryDirectory() as folder:
        built = build_record(
            Path(folder) / "run",
            seconds=seconds,
            rate=rate,
            fault_window=(begin, begin + lasts),
            fault_error=error,
            fault_latency_ms=latency,
            recover=recover,
            expect=EXPECT,
        )
        verdict = analyse(read(built))
    assert len(verdict.comparisons) == len(EXPECT)
    if verdict.outcome == "pass":
        assert {comparison.outcome for comparison in verdict.comparisons} == {"pass"}
