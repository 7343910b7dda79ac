"""Every arrival from its release to its last row: what is in flight, what became of it, and the counts of both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from harness.clock import NS
from harness.load.gauges import RollingQuantile
from harness.load.spec import LATE_MS, Seen
from harness.load.watch import Watch
from harness.record.spool import RowWriter

PROGRESS_INTERVAL_S: Final = 0.5
"""The time between two progress reports of a worker, and a turn of its rolling gauges."""

_logger = logging.getLogger(__name__)
_P95_TURNS: Final = int(2 / PROGRESS_INTERVAL_S)
_LAG_TURNS: Final = int(5 / PROGRESS_INTERVAL_S)
_LATE_NS: Final = int(LATE_MS * NS / 1000)


class Task:
    """A task of a locustfile: `run(user)` does it; `endpoint` is the request name it used last, at first `title`.

    `complained` says that an exception of this task has been logged already.
    """

    __slots__ = ("complained", "endpoint", "run", "title", "user_class")

    def __init__(self, user_class: str, title: str, run: Callable[[Any], object]) -> None:
        self.user_class = user_class
        self.title = title
        self.run = run
        self.endpoint = title
        self.complained = False

    def complain(self, error: Exception) -> None:
        """Log what the task raised, the first time."""
        if not self.complained:
            self.complained = True
            _logger.warning("the task %s raised %s: %s", self.title, type(error).__name__, error)


class Answer(Protocol):
    """How an attempt ended: `end_ns` since the arm's start, `status` 0 without a response, `error` an error word."""

    @property
    def end_ns(self) -> int: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def error(self) -> str: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102


class Arrival:
    """One arrival and how far it has come; times are ns since the arm's start.

    `intended_ns` is the arrival's own, `wanted_ns` and `start_ns` are the current attempt's. `prompt` says that a
    virtual user was free when it was released. `answer` is the last attempt's end, once there is one.
    """

    __slots__ = (
        "answer",
        "attempt",
        "endpoint",
        "first_local",
        "intended_ns",
        "on_wire",
        "prompt",
        "start_ns",
        "task",
        "wanted_ns",
    )

    def __init__(self, intended_ns: int, task: Task) -> None:
        self.intended_ns = self.wanted_ns = intended_ns
        self.task = task
        self.endpoint = ""
        self.attempt = 0
        self.first_local = -1
        self.start_ns = -1
        self.on_wire = False
        self.prompt = True
        self.answer: Answer | None = None

    def name(self, endpoint: str) -> None:
        """Set the request name that this arrival's rows carry."""
        self.endpoint = self.task.endpoint = endpoint


class Recorder:
    """Writes the rows of a worker and keeps its counts: one row with attempt 0 per arrival.

    `rows` counts rows, `first_rows` those with attempt 0. The other counts are of arrivals: `finished` and `failed`
    go by the last attempt; `dropped` ones are in both. `late` ones found a free user and still started more than
    `LATE_MS` after their instant. `idle` ones are no arrivals any more: their tasks made no request.
    """

    def __init__(self, writer: RowWriter, watches: Sequence[Watch] = ()) -> None:
        self._writer = writer
        self._add_row = writer.add
        self._watches = watches
        self._open: set[Arrival] = set()
        self._closed = False
        self._responses = RollingQuantile(_P95_TURNS)
        self._lags = RollingQuantile(_LAG_TURNS)
        self.rows = 0
        self.first_rows = 0
        self.arrivals = 0
        self.finished = 0
        self.failed = 0
        self.dropped = 0
        self.late = 0
        self.idle = 0

    @property
    def closed(self) -> bool:
        """Whether the arm is over: nothing is recorded any more."""
        return self._closed

    @property
    def in_flight(self) -> int:
        """Arrivals that were released and are not finished, those that wait for a free user included."""
        return len(self._open)

    def released(self, arrival: Arrival) -> None:
        """An arrival is due now."""
        self.arrivals += 1
        self._open.add(arrival)

    def started(self, arrival: Arrival) -> None:
        """The first attempt starts (`start_ns` is set); counts how late it is, if that was up to this worker."""
        if arrival.prompt:
            lag_ns = arrival.start_ns - arrival.intended_ns
            self._lags.add(lag_ns)
            self.late += lag_ns > _LATE_NS

    def made_no_request(self, arrival: Arrival) -> None:
        """The task that ran for the arrival is over without a request; it counts as `idle`, and is forgotten."""
        if self._closed:
            return
        self._open.discard(arrival)
        self.arrivals -= 1
        self.idle += 1

    def will_retry(self, arrival: Arrival, wait_ns: int) -> None:
        """The attempt that ended as `arrival.answer` is followed by another one, `wait_ns` after its end."""
        answer = arrival.answer
        if self._closed or answer is None:
            return
        self._row(arrival, answer.end_ns, answer.status, answer.error, answer.nbytes)
        arrival.attempt += 1
        arrival.wanted_ns = answer.end_ns + wait_ns
        arrival.answer = None

    def settled(self, arrival: Arrival) -> None:
        """The arrival is finished; its last attempt ended as `arrival.answer`."""
        answer = arrival.answer
        if self._closed or answer is None:
            return
        end_ns, error = answer.end_ns, answer.error
        self._row(arrival, end_ns, answer.status, error, answer.nbytes)
        self._finish(arrival, end_ns, error)

    def gave_up(self, arrival: Arrival, at_ns: int) -> None:
        """No user was free for the arrival in time; `at_ns` is the moment of giving up."""
        if self._closed:
            return
        arrival.endpoint = arrival.task.endpoint
        arrival.start_ns = at_ns
        self.dropped += 1
        self._row(arrival, at_ns, 0, "dropped", 0)
        self._finish(arrival, at_ns, "dropped")

    def close(self, end_ns: int) -> None:
        """End the arm at `end_ns`: whatever is in flight becomes `aborted` rows, nothing is recorded afterwards.

        An arrival that was between two attempts has its rows already; its last attempt's failure stands.
        """
        if self._closed:
            return
        for arrival in sorted(self._open, key=lambda arrival: arrival.intended_ns):
            self._cut_off(arrival, end_ns)
        self._closed = True
        self._writer.close()

    def flush(self) -> None:
        """Hand the rows so far to the operating system."""
        self._writer.flush()

    def read_gauges(self) -> tuple[float | None, float]:
        """The p95 of the response times over the last 2 s and the p99 of the start lag over the last 5 s, in ms.

        Turns the gauges: call it once per `PROGRESS_INTERVAL_S`.
        """
        self._responses.turn()
        self._lags.turn()
        return self._responses.read_ms(0.95), self._lags.read_ms(0.99) or 0.0

    def read_watches(self) -> tuple[Seen, ...]:
        """What each of the watches has seen. Turns them: call it once per `PROGRESS_INTERVAL_S`."""
        return tuple(watch.read() for watch in self._watches)

    def _cut_off(self, arrival: Arrival, end_ns: int) -> None:
        if arrival.on_wire:
            self._row(arrival, max(end_ns, arrival.start_ns), 0, "aborted", 0)
        elif arrival.answer is not None:
            self.settled(arrival)
        elif arrival.attempt > 0:
            self._finish(arrival, end_ns, "aborted")
        else:
            arrival.endpoint = arrival.endpoint or arrival.task.endpoint
            arrival.start_ns = max(end_ns, arrival.intended_ns)
            self._row(arrival, arrival.start_ns, 0, "aborted", 0)

    def _row(self, arrival: Arrival, end_ns: int, status: int, error: str, nbytes: int) -> None:
        local = self.rows
        self.rows = local + 1
        if arrival.attempt == 0:
            arrival.first_local = local
            self.first_rows += 1
        self._add_row(
            arrival.attempt,
            arrival.first_local,
            local,
            arrival.endpoint,
            arrival.wanted_ns,
            arrival.start_ns,
            end_ns,
            status,
            error,
            nbytes,
        )

    def _finish(self, arrival: Arrival, end_ns: int, error: str) -> None:
        self._open.discard(arrival)
        self.finished += 1
        if error:
            self.failed += 1
        took_ns = end_ns - arrival.intended_ns
        self._responses.add(took_ns)
        for watch in self._watches:
            watch.add(arrival.endpoint, took_ns, bool(error))
