from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.load.gauges import RollingQuantile
from harness.load.recorder import Arrival, Recorder, Task
from harness.record.spool import ERROR_WORDS, RowWriter, read_spool

MS = 1_000_000


@dataclass
class Ended:
    end_ns: int
    status: int = 200
    error: str = ""
    nbytes: int = 2


class Desk:
    """A recorder, and what it has written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "w.rows"
        self.recorder = Recorder(RowWriter(self.path))
        self.task = Task("Shopper", "buy", lambda user: None)

    def arrive(self, at_ms: int) -> Arrival:
        arrival = Arrival(at_ms * MS, self.task)
        self.recorder.released(arrival)
        return arrival

    def send(self, arrival: Arrival, at_ms: int) -> None:
        arrival.name("checkout")
        arrival.start_ns = at_ms * MS
        arrival.on_wire = True

    def end(self, arrival: Arrival, at_ms: int, error: str = "") -> None:
        arrival.on_wire = False
        arrival.answer = Ended(at_ms * MS, 0 if error else 200, error)

    def rows(self) -> list[tuple]:
        """(attempt, first_local, endpoint, intended ms, start ms, end ms, error) per row."""
        self.recorder.flush()
        import numpy as np

        from harness.record.spool import ROW_DTYPE

        spool = read_spool(self.path)
        return [
            (
                int(row["attempt"]),
                int(row["first_local"]),
                spool.names[row["endpoint"]],
                *(int(row[name]) // MS for name in ("intended_ns", "start_ns", "end_ns")),
                ERROR_WORDS[row["error"]],
            )
            for row in np.frombuffer(spool.data, dtype=np.dtype(ROW_DTYPE))
        ]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_an_answered_arrival_is_one_row(desk):
    arrival = desk.arrive(10)
    desk.send(arrival, 11)
    desk.end(arrival, 20)
    assert desk.recorder.in_flight == 1
    desk.recorder.settled(arrival)
    assert desk.rows() == [(0, 0, "checkout", 10, 11, 20, "")]
    assert (desk.recorder.finished, desk.recorder.failed, desk.recorder.in_flight) == (1, 0, 0)


def test_retries_follow_their_arrival(desk):
    other = desk.arrive(5)
    arrival = desk.arrive(10)
    desk.send(arrival, 10)
    desk.end(arrival, 20, "timeout")
    desk.send(other, 6)
    desk.end(other, 21)
    desk.recorder.settled(other)
    desk.recorder.will_retry(arrival, 7 * MS)
    desk.send(arrival, 28)
    desk.end(arrival, 30)
    desk.recorder.settled(arrival)
    assert desk.rows() == [
        (0, 0, "checkout", 5, 6, 21, ""),
        (0, 1, "checkout", 10, 10, 20, "timeout"),
        (1, 1, "checkout", 27, 28, 30, ""),
    ]
    assert (desk.recorder.first_rows, desk.recorder.finished, desk.recorder.failed) == (2, 2, 0)


def test_giving_up_is_a_row_under_the_name_the_task_used_before(desk):
    desk.recorder.gave_up(desk.arrive(10), 60 * MS)
    desk.task.endpoint = "checkout"
    desk.recorder.gave_up(desk.arrive(20), 70 * MS)
    assert desk.rows() == [(0, 0, "buy", 10, 60, 60, "dropped"), (0, 1, "checkout", 20, 70, 70, "dropped")]
    assert (desk.recorder.dropped, desk.recorder.failed) == (2, 2)


def test_the_end_of_the_arm_leaves_no_arrival_without_a_row(desk):
    desk.arrive(10)
    on_wire = desk.arrive(20)
    desk.send(on_wire, 21)
    between_attempts = desk.arrive(30)
    desk.send(between_attempts, 30)
    desk.end(between_attempts, 35, "reset")
    desk.recorder.will_retry(between_attempts, 500 * MS)
    retry_on_wire = desk.arrive(40)
    desk.send(retry_on_wire, 40)
    desk.end(retry_on_wire, 45, "reset")
    desk.recorder.will_retry(retry_on_wire, 0)
    desk.send(retry_on_wire, 46)
    answered = desk.arrive(50)
    desk.send(answered, 50)
    desk.end(answered, 90)
    desk.recorder.close(100 * MS)
    assert desk.rows() == [
        (0, 0, "checkout", 30, 30, 35, "reset"),
        (0, 1, "checkout", 40, 40, 45, "reset"),
        (0, 2, "checkout", 10, 100, 100, "aborted"),
        (0, 3, "checkout", 20, 21, 100, "aborted"),
        (1, 1, "checkout", 45, 46, 100, "aborted"),
        (0, 5, "checkout", 50, 50, 90, ""),
    ]
    assert desk.recorder.first_rows == desk.recorder.arrivals == 5


def test_nothing_is_recorded_after_the_end(desk):
    arrival = desk.arrive(10)
    desk.send(arrival, 11)
    desk.recorder.close(20 * MS)
    desk.end(arrival, 25)
    desk.recorder.settled(arrival)
    desk.recorder.gave_up(desk.arrive(30), 40 * MS)
    desk.recorder.close(50 * MS)
    assert desk.rows() == [(0, 0, "checkout", 10, 11, 20, "aborted")]


def test_only_prompt_arrivals_count_towards_the_lag(desk):
    waited, prompt = desk.arrive(0), desk.arrive(0)
    waited.prompt = False
    waited.start_ns, prompt.start_ns = 900 * MS, 2 * MS
    desk.recorder.started(waited)
    desk.recorder.started(prompt)
    assert desk.recorder.read_gauges()[1] == pytest.approx(2.0, rel=0.02)
    assert desk.recorder.late == 0
    late = desk.arrive(0)
    late.start_ns = 11 * MS
    desk.recorder.started(late)
    assert desk.recorder.late == 1


def test_the_rolling_quantile_forgets():
    gauge = RollingQuantile(2)
    for value in range(1, 101):
        gauge.add(value * MS)
    gauge.turn()
    assert gauge.read_ms(0.95) == 95
    gauge.turn()
    assert gauge.read_ms(0.5) == 50
    gauge.turn()
    assert gauge.read_ms(0.5) is None


def test_the_rolling_quantile_takes_extremes():
    gauge = RollingQuantile(1)
    gauge.add(0)
    gauge.add(10**18)
    gauge.turn()
    assert gauge.read_ms(0.0) < 0.01
    assert gauge.read_ms(1.0) > 1e6
