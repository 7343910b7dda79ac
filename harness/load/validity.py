"""Whether the load generator did what was planned; when it did not, the run says nothing about the system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clock import NS
from harness.load.spec import Progress
from harness.plan import ArmKind

MAX_CPU_PERCENT: Final = 85.0
"""A worker that is busier than this for `MAX_CPU_FOR_S` measures itself."""

MAX_CPU_FOR_S: Final = 3.0

MAX_LAG_P99_MS: Final = 10.0
"""The p99 of the start lag over any 5 s, of arrivals that found a free user."""

_LAG_WINDOW_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What a load worker left behind.

    `rows` and `arrivals` are by its own count, None when it was lost before it could tell; `spool_rows` is what its
    file holds. `health` are its progress reports in order.
    """

    name: str
    spool: Path
    rows: int | None
    arrivals: int | None
    spool_rows: int
    exit_code: int | None
    health: tuple[Progress, ...]
    last_words: str = ""


def validity_reasons(results: Sequence[WorkerResult], kind: ArmKind) -> list[str]:
    """Why the load of an arm was not what was planned, one sentence each; empty when it was.

    A `dropped` arrival counts in a baseline arm only: in a fault arm, with every user waiting for an answer, it is
    harm done by the system.
    """
    reasons = []
    for result in results:
        reasons += _loss(result)
        busy = _longest_busy(result.health)
        if busy is not None:
            start_s, length_s, peak = busy
            reasons.append(
                f"{result.name} used more than {MAX_CPU_PERCENT:.0f} % of a core for {length_s:.1f} s from"
                f" {start_s:.1f} s on (up to {peak:.0f} %): add workers, or lower the rate"
            )
        late = _worst_lag(result.health)
        if late is not None:
            reasons.append(
                f"{result.name} started arrivals late although users were free: p99 {late.lag_p99_ms:.1f} ms over the"
                f" 5 s before {late.t_ns / NS:.1f} s (allowed: {MAX_LAG_P99_MS:.0f} ms)"
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


def _longest_busy(health: Sequence[Progress]) -> tuple[float, float, float] | None:
    """The longest stretch above the CPU limit that is too long: its start and length in s, and its peak in percent."""
    worst: tuple[float, float, float] | None = None
    start_ns, peak, previous_ns = 0, 0.0, 0
    for reading in health:
        if reading.cpu_percent > MAX_CPU_PERCENT:
            start_ns = start_ns if peak else previous_ns
            peak = max(peak, reading.cpu_percent)
            length_s = (reading.t_ns - start_ns) / NS
            if length_s >= MAX_CPU_FOR_S and (worst is None or length_s > worst[1]):
                worst = (start_ns / NS, length_s, peak)
        else:
            peak = 0.0
        previous_ns = reading.t_ns
    return worst


def _worst_lag(health: Sequence[Progress]) -> Progress | None:
    """The reading with the worst start lag beyond the limit, among those that cover a whole window."""
    late = [reading for reading in health if reading.lag_p99_ms > MAX_LAG_P99_MS and reading.t_ns >= _LAG_WINDOW_S * NS]
    return max(late, key=lambda reading: reading.lag_p99_ms, default=None)
