"""Trace files: what is understood, what is answered when a line is not, and what becomes of a section."""

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.shapes import Instants, Steps
from harness.traces import Replay, read_trace


@pytest.fixture
def trace(tmp_path):
    def write(text: str | bytes) -> Path:
        file = tmp_path / "friday.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0.5\n1\n1\n2.25", [0.5, 1, 1, 2.25]),
        ("time\n0.5\n", [0.5]),
        ('"seconds"\r\n0.5\r\n', [0.5]),
        ("\n# recorded on Friday\n  0.5  \n\n1e0\n", [0.5, 1]),
        ("\ufefftime\n3\n", [3]),
        ("\ufeff3\n", [3]),
        ("1795600000.125\n1795600000.625\n1795600003\n", [0, 0.5, 2.875]),
        ("2026-11-25T02:00:00.125Z\n2026-11-25T02:00:01Z\n2026-11-25T04:00:02+02:00\n", [0, 0.875, 1.875]),
        ("2026-11-25 02:00:00\n2026-11-25 02:00:07\n", [0, 7]),
    ],
)
def test_timestamps(trace, text, times):
    found = read_trace(trace(text))
    assert list(found.times_s) == times
    assert found.rates is None
    assert found.ended


@pytest.mark.parametrize(
    "text", ["0,10\n60,20\n", "time,rate\n0, 10\n60 , 20", "t;rps\n0;10\n60;20", "0\t10\n60\t20", "0 10\n60 20"]
)
def test_rates(trace, text):
    found = read_trace(trace(text))
    assert (list(found.times_s), list(found.rates)) == ([0, 60], [10, 20])


def test_rates_by_date(trace):
    found = read_trace(trace("2026-11-25 02:00:00, 10\n2026-11-25 02:01:00, 20"))
    assert (list(found.times_s), list(found.rates)) == ([0, 60], [10, 20])


def test_a_section_is_read_no_further_than_it_goes(trace):
    found = read_trace(trace("0\n1\n2\n3\n4\nnonsense"), from_s=1, until_s=3)
    assert (list(found.times_s), found.ended) == ([1, 2], False)


def test_a_section_of_rates_begins_with_the_one_that_holds_there(trace):
    found = read_trace(trace("0,10\n60,20\n120,30\n180,40"), from_s=90, until_s=150)
    assert (list(found.times_s), list(found.rates)) == ([90, 120], [20, 30])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("1\n2\nthree\n", 3, "expected a time such as `12.25`, or a time and a rate, got `three`"),
        ("a\nb\n1\n", 2, "got `b`"),
        ("1\n-2\n", 2, "got `-2`"),
        ("1\nnan\n", 2, "got `nan`"),
        ("1\ninf\n", 2, "got `inf`"),
        ("1\n1_0\n", 2, "got `1_0`"),
        ("1\n2026-13-45T00:00:00\n", 2, "got `2026-13-45T00:00:00`"),
        ("1,2,3\n", 1, "got `1,2,3`"),
        ("1,-2\n", 1, "got `1,-2`"),
        ("1,fast\n", 1, "got `1,fast`"),
        ("1\n2,3\n", 2, "expected 1 column as before"),
        ("1,2\n3\n", 2, "expected 2 columns as before"),
        ("1\n0.5\n", 2, "expected a time after 1 s, where the line before is, got 0.5 s\n  sort the file"),
        ("1,5\n1,6\n", 2, "expected a time after 1 s"),
        ("1795600000125\n", 1, "which looks like milliseconds\n  divide the times by 1000"),
        ("1" * 10_000, 1, "got `1111"),
        (b"\xff\xfe1\x00\n\x00", 1, "expected a time"),
        ("", None, "holds no line of a trace"),
        ("time\n# nothing yet\n", None, "holds no line of a trace"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(trace, text, line, said):
    file = trace(text)
    with pytest.raises(ScenarioError) as caught:
        read_trace(file)
    assert (caught.value.file, caught.value.line) == (str(file), line)
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ScenarioError, match="can't be read: No such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(ScenarioError, match="can't be read: Is a directory"):
        read_trace(tmp_path)


def placed(file, **choices) -> Instants | Steps:
    replay = Replay(**{"start_s": 100.0, "end_s": 110.0, "file": str(file), **choices})
    return replay.shape_of(replay.read())


def test_a_replay_of_timestamps_is_exact(trace):
    file = trace("0\n0.125\n0.125\n4.5\n9.999999\n10\n11")
    assert list(placed(file)) == [100, 100.125, 100.125, 104.5, 109.999999]
    assert list(placed(file, from_s=4.0)) == [100.5, 105.999999, 106, 107]


def test_a_replay_at_another_speed_keeps_the_arrivals_and_moves_them(trace):
    assert list(placed(trace("0\n1\n4\n19\n20"), speed=2.0)) == [100, 100.5, 102, 109.5]


def test_a_scaled_replay_keeps_the_shape(trace):
    file = trace("0\n1\n2\n8\n9")
    assert list(placed(file, scale=0.5)) == [100, 102, 109]
    assert list(placed(file, scale=2.0)) == [100, 100.5, 101, 101.5, 102, 105, 108, 108.5, 109]


def test_rates_hold_until_the_next_and_scale_with_both(trace):
    file = trace("0,10\n4,20\n30,40")
    assert placed(file) == placed(file, speed=1.0, scale=1.0)
    steps = placed(file, from_s=2.0, speed=2.0, scale=1.5)
    assert (list(steps.times_s), list(steps.rates), steps.end_s) == ([100, 101], [30, 60], 110)


def test_a_section_with_nothing_in_it_is_refused(trace):
    with pytest.raises(ScenarioError, match="holds nothing from 50 s to 60 s\n  its last line is at 9 s"):
        placed(trace("0\n9"), from_s=50.0)


def test_a_trace_that_changed_after_it_was_planned_is_noticed(trace):
    file = trace("0\n1")
    replay = Replay(0, 10, str(file), sha256=read_trace(file).sha256)
    assert replay.read().sha256 == replay.sha256
    trace("0\n1.5")
    with pytest.raises(ScenarioError, match="has changed since the plan was made"):
        replay.read()
