import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import NS
from harness.errors import LoadError, RecordError
from harness.record.clocks import (
    Reading,
    WorkerClock,
    clock_path,
    quickest,
    read_clock,
    reading_line,
    start_line,
)
from harness.record.merge import merge_spools
from harness.record.spool import RowWriter

T0 = 50 * NS


def exchange(at_ns, offset_ns, there_ns, back_ns):
    """A reading of a clock that is `offset_ns` ahead, with ways of these lengths."""
    received = at_ns + there_ns + offset_ns
    return Reading.of(at_ns, received, received + 1000, at_ns + there_ns + 1000 + back_ns)


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**8), st.integers(0, 10**8))
def test_the_true_offset_is_within_the_error_however_unequal_the_ways(offset_ns, there_ns, back_ns):
    reading = exchange(T0, offset_ns, there_ns, back_ns)
    assert abs(reading.offset_ns - offset_ns) <= reading.error_ns
    assert reading.error_ns <= (there_ns + back_ns) // 2 + 1


def test_a_quick_reading_beats_slow_ones_near_it():
    slow = [Reading(T0 + i * NS, 3 * NS + 4_000_000, 5_000_000) for i in range(5)]
    quick = Reading(T0 + 2 * NS, 3 * NS, 100_000)
    clock = WorkerClock(T0, T0 + 3 * NS, [*slow, quick])
    assert clock.shifts == [(2 * NS, 0)]
    assert clock.summary.uncertainty_ns == 100_000
    assert clock.summary.readings == 6
    assert quickest([*slow, quick]) == quick


def test_drift_is_followed_by_interpolation():
    # 20 ppm fast: after 100 s the other clock has gained 2 ms.
    readings = [Reading(T0 + i * 10 * NS, 3 * NS + i * 200_000, 50_000) for i in range(11)]
    clock = WorkerClock(T0, T0 + 3 * NS, readings)
    at, shift = np.array(clock.shifts).T
    assert np.interp(35 * NS, at, shift) == pytest.approx(-700_000)
    assert clock.summary.drift_ppm == pytest.approx(20)
    assert clock.summary.offset_ns == 3 * NS


READINGS = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 10_000_000)), min_size=1, max_size=40)


@given(READINGS)
def test_a_reading_counts_unless_another_tells_more_about_its_moment(given_readings):
    readings = [Reading(T0 + at_s * NS, 0, error) for at_s, error in given_readings]
    telling = [
        one
        for one in readings
        if all(one.error_ns <= other.error_ns + abs(one.at_ns - other.at_ns) * 100e-6 for other in readings)
    ]
    clock = WorkerClock(T0, T0, readings)
    assert [at for at, _ in clock.shifts] == sorted(one.at_ns - T0 for one in telling)
    assert clock.summary.uncertainty_ns == max(one.error_ns for one in telling)


def write_spool(path, times):
    writer = RowWriter(path)
    for local, (intended, start, end) in enumerate(times):
        writer.add(0, local, local, "a", intended, start, end, 200, "", 1)
    writer.close()


def test_rows_are_shifted_to_the_conductors_clock_and_keep_their_durations(tmp_path):
    here, there = tmp_path / "w0", tmp_path / "w1"
    write_spool(here, [(NS, NS, 2 * NS)])
    # The worker was told to begin 5 ms too late, and by the end its clock has gained 1 ms.
    write_spool(there, [(0, 10, 20), (NS, NS + 10, NS + 500), (10 * NS, 10 * NS, 10 * NS + 7)])
    readings = [Reading(T0, 3 * NS, 1000), Reading(T0 + 10 * NS, 3 * NS + 1_000_000, 1000)]
    lines = [start_line(T0, T0 + 3 * NS + 5_000_000), *map(reading_line, readings)]
    clock_path(there).write_text("".join(lines) + '{"at_ns": 1')
    table = merge_spools("baseline-1", [here, there])
    rows = {name: table.column(name).to_numpy() for name in ("worker", "intended_ns", "start_ns", "end_ns")}
    far = rows["worker"] == 1
    assert rows["intended_ns"][~far].tolist() == [NS]
    assert rows["intended_ns"][far].tolist() == [5_000_000, NS + 4_900_000, 10 * NS + 4_000_000]
    assert (rows["start_ns"] - rows["intended_ns"])[far].tolist() == [10, 10, 0]
    assert (rows["end_ns"] - rows["intended_ns"])[far].tolist() == [20, 500, 7]


def test_no_row_is_shifted_to_before_the_arm(tmp_path):
    write_spool(tmp_path / "w", [(100, 200, 300), (NS, NS, NS)])
    clock_path(tmp_path / "w").write_text(start_line(T0, T0) + reading_line(Reading(T0, 5_000, 100)))
    table = merge_spools("baseline-1", [tmp_path / "w"])
    assert table.column("intended_ns").to_pylist() == [0, NS - 5_000]
    assert table.column("end_ns").to_pylist() == [200, NS - 5_000]


def test_a_clock_that_was_never_read_places_no_rows(tmp_path):
    write_spool(tmp_path / "w", [(1, 2, 3)])
    assert read_clock(tmp_path / "w") is None
    clock_path(tmp_path / "w").write_text(start_line(T0, T0))
    with pytest.raises(LoadError, match="never read"):
        merge_spools("baseline-1", [tmp_path / "w"])


@pytest.mark.parametrize("content", ["[]\n", "nonsense\n", json.dumps({"at_ns": 1}) + "\n", ""])
def test_a_damaged_clock_file_is_an_error(tmp_path, content):
    clock_path(tmp_path / "w").write_text(content)
    with pytest.raises(RecordError, match="cannot read the clock"):
        read_clock(tmp_path / "w")
