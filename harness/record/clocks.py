"""The clock of another host, seen from the conductor's: CLOCK_MONOTONIC means something else on every machine.

A reading is one exchange of messages: sent at a, received there at b, answered there at c, back at d. The other clock
is ahead by ((b - a) + (c - d)) / 2, and the error of that is at most half the round trip (d - a) - (c - b), however
unevenly the two ways took (Cristian 1989). Of many readings the quickest tell most. Between two of them the clocks are
taken to run apart evenly.

Beside the spool of a worker on another host is `PATH.clock`, one JSON object per line: `{"t0_ns", "worker_t0_ns"}`, the
arm's start on the conductor's clock and what the worker took for it on its own, and readings. Only the standard library
is used: the Locust master imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.errors import RecordError

_MAX_DRIFT_PPM: Final = 100
"""What two clocks are trusted to run apart at most, to tell whether an old quick reading beats a slow new one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """At the conductor's `at_ns` the other clock was `offset_ns` ahead of the conductor's, give or take `error_ns`."""

    at_ns: int
    offset_ns: int
    error_ns: int

    @classmethod
    def of(cls, sent_ns: int, received_ns: int, answered_ns: int, back_ns: int) -> Reading:
        """From the four instants of an exchange; the middle two are on the other clock."""
        round_trip_ns = (back_ns - sent_ns) - (answered_ns - received_ns)
        offset_ns = ((received_ns - sent_ns) + (answered_ns - back_ns)) // 2
        return cls((sent_ns + back_ns) // 2, offset_ns, max(0, round_trip_ns) // 2 + 1)


@dataclass(frozen=True, slots=True)
class ClockSummary:
    """What run.json says of a worker's clock: how far ahead it was at the arm's start, how it ran, how sure that is.

    A `drift_ppm` of 1 means that it gained a microsecond per second.
    """

    offset_ns: int
    uncertainty_ns: int
    drift_ppm: float
    readings: int


class WorkerClock:
    """A worker's clock during an arm, from the readings of it."""

    def __init__(self, t0_ns: int, worker_t0_ns: int, readings: Iterable[Reading]) -> None:
        given = sorted(readings, key=lambda reading: reading.at_ns)
        self._t0_ns = t0_ns
        self._worker_t0_ns = worker_t0_ns
        self._count = len(given)
        self._best = _telling(given)

    @property
    def shifts(self) -> Sequence[tuple[int, int]]:
        """Points `(t, shift)` in ns, `t` ascending: a time `t` of the worker's rows is `t + shift` of the arm.

        In between the shift goes linearly, beyond the ends it stays.
        """
        planned = self._worker_t0_ns - self._t0_ns
        return [(one.at_ns - self._t0_ns, planned - one.offset_ns) for one in self._best]

    @property
    def summary(self) -> ClockSummary:
        """The clock in a few numbers. Raises `ValueError` when there is no reading."""
        if not self._best:
            raise ValueError("there is no reading of the worker's clock")
        first, last = self._best[0], self._best[-1]
        span_ns = last.at_ns - first.at_ns
        drift = (last.offset_ns - first.offset_ns) / span_ns if span_ns else 0.0
        nearest = min(self._best, key=lambda one: abs(one.at_ns - self._t0_ns))
        return ClockSummary(
            nearest.offset_ns, max(one.error_ns for one in self._best), round(drift * 1e6, 3), self._count
        )


def quickest(readings: Iterable[Reading]) -> Reading:
    """The reading with the least error. Raises `ValueError` when there is none."""
    return min(readings, key=lambda reading: reading.error_ns)


def clock_path(spool: Path) -> Path:
    """Where the clock readings of the worker with the spool at `spool` are, if it ran on another host."""
    return spool.with_name(spool.name + ".clock")


def start_line(t0_ns: int, worker_t0_ns: int) -> str:
    """The line of a clock file that says when the arm began."""
    return json.dumps({"t0_ns": t0_ns, "worker_t0_ns": worker_t0_ns}) + "\n"


def reading_line(reading: Reading) -> str:
    """The line of a clock file that holds a reading."""
    return json.dumps(asdict(reading)) + "\n"


def read_clock(spool: Path) -> WorkerClock | None:
    """The clock of the worker with the spool at `spool`; None when there is no clock file: the conductor's own.

    Raises `RecordError` when the file cannot be read or holds something else; an incomplete last line is left out.
    """
    path = clock_path(spool)
    try:
        lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        starts = [line for line in lines if "t0_ns" in line]
        readings = [Reading(**line) for line in lines if "t0_ns" not in line]
        return WorkerClock(starts[-1]["t0_ns"], starts[-1]["worker_t0_ns"], readings)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise RecordError(f"cannot read the clock of a load worker at {path}: {error}") from error


def _telling(readings: Sequence[Reading]) -> list[Reading]:
    """Those of `readings` (by time) that tell more about their own moment than any earlier or later one does."""
    after = _bounds([(-one.at_ns, one.error_ns) for one in reversed(readings)])[::-1]
    before = _bounds([(one.at_ns, one.error_ns) for one in readings])
    limits = zip(readings, before, after, strict=True)
    return [one for one, *bounds in limits if one.error_ns <= min(bounds)]


def _bounds(points: Sequence[tuple[int, int]]) -> list[float]:
    """At each `(time, error)` the least error that those up to there give, as clocks run apart."""
    bounds: list[float] = []
    for i, (at, error) in enumerate(points):
        aged = bounds[-1] + (at - points[i - 1][0]) * _MAX_DRIFT_PPM / 1e6 if i else float("inf")
        bounds.append(min(float(error), aged))
    return bounds
