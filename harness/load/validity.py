"""Whether the load generator did what was planned; when it did not, the run says nothing about the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clock import NS
from harness.load.spec import LATE_MS, Progress
from harness.plan import ArmKind
from harness.record.clocks import ClockSummary

MAX_CPU_PERCENT: Final = 85.0
"""A worker that is busier than this for `MAX_CPU_FOR_S` measures itself."""

MAX_CPU_FOR_S: Final = 3.0

MAX_LAG_FOR_S: Final = 3.0
"""A worker whose p99 of the start lag, with users free, is above `LATE_MS` for longer can't keep up."""

MAX_LATE_SHARE: Final = 0.01
"""More arrivals of an arm than this, later than that, falsify its quantiles, however they are spread.

A single hiccup of the machine makes some arrivals late; their response times tell, for they count from the planned
instant, and while they are so few no p95 or p99 of the arm is made by them.
"""

_MORE_WORKERS: Final = "spread the load over more processes (`--workers`), lower the rate, or use a calmer machine"

_FEWEST_LATE: Final = 10
"""So few are no share of anything, in an arm of a few hundred arrivals or less."""

_LAG_WINDOW_S: Final = 5.0
"""What a reading of `lag_p99_ms` covers: one late moment keeps it up for so long."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What a load worker left behind.

    `rows` and `arrivals` are by its own count, None when it was lost before it could tell; `spool_rows` is what its
    file holds. `health` are its progress reports in order, `notes` what users should know, in sentences. `clock` is
    that of a worker on another host.
    """

    name: str
    spool: Path
    rows: int | None
    arrivals: int | None
    spool_rows: int
    exit_code: int | None
    health: tuple[Progress, ...]
    last_words: str = ""
    notes: tuple[str, ...] = ()
    clock: ClockSummary | None = None


def validity_reasons(results: Sequence[WorkerResult], kind: ArmKind) -> list[str]:
    """Why the load of an arm was not what was planned, one sentence each; empty when it was.

    A `dropped` arrival counts in a baseline arm only: in a fault arm, with every user waiting for an answer, it is
    harm done by the system.
    """
    reasons = []
    for result in results:
        reasons += _loss(result)
        busy = _longest_above(result.health, "cpu_percent", MAX_CPU_PERCENT)
        if busy is not None and busy.length_s >= MAX_CPU_FOR_S:
            reasons.append(
                f"{result.name} used more than {MAX_CPU_PERCENT:.0f} % of a core for {busy.length_s:.1f} s from"
                f" {busy.start_s:.1f} s on (up to {busy.peak:.0f} %): {_MORE_WORKERS}"
            )
        reasons += _lateness(result)
        if result.clock is not None and result.clock.uncertainty_ns > LATE_MS * NS / 1000:
            reasons.append(
                f"the clock of {result.name} is known to {result.clock.uncertainty_ns / NS * 1000:.1f} ms only"
                f" (needed: {LATE_MS:.0f} ms): the way to its host is too slow or too busy"
            )
        dropped = result.health[-1].dropped if result.health else 0
        if dropped and kind == "baseline":
            reasons.append(
                f"{result.name} dropped {dropped} arrivals of a baseline arm for want of a free virtual user:"
                " raise `load.pool`"
            )
    return reasons


def _loss(result: WorkerResult) -> list[str]:
    if result.rows is None or result.exit_code != 0:
        words = f": {result.last_words}" if result.last_words else ""
        return [f"{result.name} was lost (exit code {result.exit_code}){words}"]
    if result.rows != result.spool_rows:
        return [f"{result.name} recorded {result.rows} rows, but {result.spool_rows} are in {result.spool}"]
    return []


def _lateness(result: WorkerResult) -> list[str]:
    lags = _longest_above(result.health, "lag_p99_ms", LATE_MS)
    last = result.health[-1] if result.health else None
    if lags is not None and lags.length_s >= _LAG_WINDOW_S + MAX_LAG_FOR_S:
        return [
            f"{result.name} started arrivals late although users were free: p99 over {LATE_MS:.0f} ms for"
            f" {lags.length_s - _LAG_WINDOW_S:.1f} s before {lags.end_s:.1f} s (up to {lags.peak:.0f} ms):"
            f" {_MORE_WORKERS}"
        ]
    if last is not None and last.late > max(_FEWEST_LATE, MAX_LATE_SHARE * last.arrivals):
        return [
            f"{result.name} started {last.late} of {last.arrivals} arrivals more than {LATE_MS:.0f} ms late"
            f" although users were free (allowed: {MAX_LATE_SHARE:.0%}): {_MORE_WORKERS}"
        ]
    return []


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Readings in a row above a limit: from `start_s` to `end_s` of the arm, at most `peak`."""

    start_s: float
    end_s: float
    peak: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def _longest_above(health: Sequence[Progress], gauge: str, limit: float) -> _Stretch | None:
    """The longest stretch of readings above `limit`; it begins with the reading before the first of them."""
    longest: _Stretch | None = None
    stretch: _Stretch | None = None
    previous_s = 0.0
    for reading in health:
        value, now_s = float(getattr(reading, gauge)), reading.t_ns / NS
        if value <= limit:
            stretch = None
        else:
            before = stretch or _Stretch(previous_s, previous_s, value)
            stretch = _Stretch(before.start_s, now_s, max(before.peak, value))
            if longest is None or stretch.length_s > longest.length_s:
                longest = stretch
        previous_s = now_s
    return longest
