"""What a person sees while a run is on: one live line on a terminal, a plain line now and then elsewhere.

Everything goes to standard error; standard output is for data.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where an arm is: times in seconds, rates in arrivals per second, shares 0..1; None = not known yet."""

    arm: str
    phase: str
    t_s: float
    duration_s: float
    rate: float | None
    error_rate: float | None
    p95_s: float | None
    in_flight: int
    faults: Mapping[str, str]


class Display:
    """Prints notes and snapshots to standard error. Use as a context manager; `quiet` prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live: Live | None = None
        self._printed = ("", 0.0)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.update(Text(""))
        self._console.print(Text(text), soft_wrap=True)

    def show(self, now: Snapshot) -> None:
        """The state of the arm, as often as you like."""
        if self._live is not None:
            self._live.update(_table(now))
        elif self._is_due(now):
            self._console.print(Text(_line(now)), soft_wrap=True)
            sys.stderr.flush()

    def _is_due(self, now: Snapshot) -> bool:
        key = f"{now.arm} {now.phase} {sorted(now.faults.items())}"
        shown, at = self._printed
        due = key != shown or time.monotonic() - at >= PLAIN_EVERY_S
        if due:
            self._printed = (key, time.monotonic())
        return due


def _figures(now: Snapshot) -> dict[str, str]:
    return {
        "time": f"{now.t_s:5.1f} / {now.duration_s:.0f} s",
        "rate": "-" if now.rate is None else f"{now.rate:.0f}/s",
        "errors": "-" if now.error_rate is None else f"{now.error_rate:.1%}",
        "p95": "-" if now.p95_s is None else f"{now.p95_s * 1000:.0f} ms",
        "in flight": str(now.in_flight),
        "fault": ", ".join(f"{name} {state}" for name, state in now.faults.items()) or "none planned",
    }


def _line(now: Snapshot) -> str:
    figures = ", ".join(f"{name} {value.strip()}" for name, value in _figures(now).items())
    return f"{now.arm}: {now.phase}: {figures}"


def _table(now: Snapshot) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    figures = {"arm": now.arm, "phase": now.phase, **_figures(now)}
    for name in figures:
        table.add_column(name, style="bold red" if name == "fault" and "active" in figures["fault"] else "")
    table.add_row(*figures.values())
    return table
