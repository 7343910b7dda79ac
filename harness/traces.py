"""Recorded traffic as load: a file of timestamps, or of (time, rate) lines, read a section at a time.

One line, one arrival (`12.25`), or one rate that holds until the next line's time (`60, 118.5`). Times are seconds:
small ones count from the trace's beginning; dates (`2026-11-25T02:00:00.125Z`) and Unix times (`1795600000.125`) count
from the first line. A header, empty lines and lines that start with `#` are passed over; columns are separated by
commas, semicolons, tabs or spaces.
"""

from __future__ import annotations

import codecs
import hashlib
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.errors import ScenarioError
from harness.shapes import Instants, Steps

MAX_LINES: Final = 10_000_000
"""A section with more lines is refused: it would not fit into a load worker's memory."""
_UNIX_TIMES_FROM: Final = 1e8
_MILLISECONDS_FROM: Final = 1e11
_MAX_LINE_BYTES: Final = 65536
_SEPARATORS: Final = bytes.maketrans(b",;\t", b"   ")


@dataclass(frozen=True, slots=True)
class Trace:
    """A section of a trace: `times_s` since its beginning, ascending; `rates` when it has them, else None.

    `end_s` is the time of the last line that was looked at, `ended` whether that was the last one of the file.
    """

    file: str
    times_s: array[float]
    rates: array[float] | None
    end_s: float
    ended: bool

    @property
    def sha256(self) -> str:
        """Digest of the section's content: the same for the same arrivals."""
        return hashlib.sha256(self.times_s.tobytes() + (self.rates.tobytes() if self.rates else b"")).hexdigest()


@dataclass(frozen=True, slots=True)
class Replay:
    """A section of a trace in its place in an arm: from `from_s` of the trace on, in `[start_s, end_s)` of the arm.

    `speed` compresses time (2.0: twice as fast), `scale` multiplies the arrivals; 1.0 leaves the trace as it is.
    `sha256` is that of the section, so that a file that has changed since is noticed; `arrivals` how many are expected.
    """

    start_s: float
    end_s: float
    file: str
    sha256: str = ""
    from_s: float = 0.0
    speed: float = 1.0
    scale: float = 1.0
    arrivals: float = 0.0

    @property
    def until_s(self) -> float:
        """The second of the trace at which the replay ends."""
        return self.from_s + (self.end_s - self.start_s) * self.speed

    def read(self) -> Trace:
        """The section. Raises ScenarioError: not a trace, nothing in it, or not the one whose digest this is."""
        trace = read_trace(Path(self.file), from_s=self.from_s, until_s=self.until_s)
        if not trace.times_s:
            raise ScenarioError(
                f"holds nothing from {self.from_s:.10g} s to {self.until_s:.10g} s",
                file=self.file,
                remedy=f"its last line is at {trace.end_s:.10g} s" if trace.ended else "take another part of it",
            )
        if self.sha256 and trace.sha256 != self.sha256:
            raise ScenarioError("has changed since the plan was made", file=self.file, remedy="start the run again")
        return trace

    def shape_of(self, trace: Trace) -> Instants | Steps:
        """The section at its place in the arm, sped up and scaled."""
        if trace.rates is None:
            times_s = trace.times_s if self.scale == 1 else array("d", _scaled(trace.times_s, self.scale))
            placed = array("d", (self._placed(t_s) for t_s in times_s))
            return Instants(self.start_s, self.end_s, placed[: bisect_left(placed, self.end_s)])
        starts = array("d", (max(self.start_s, self._placed(t_s)) for t_s in trace.times_s))
        factor = self.scale * self.speed
        return Steps(self.end_s, starts, array("d", (rate * factor for rate in trace.rates)))

    def _placed(self, t_s: float) -> float:
        return self.start_s + (t_s - self.from_s) / self.speed


def read_trace(file: Path, *, from_s: float = 0.0, until_s: float = math.inf) -> Trace:
    """The lines in `[from_s, until_s)` of the trace, and of rates the one that holds at `from_s`; reads no further.

    Raises ScenarioError: no such file, or a line that is not one of a trace.
    """
    times_s, rates = array("d"), array("d")
    end_s, ended, columns = 0.0, True, 0
    for number, time_s, rate in _lines(file):
        columns = columns or (1 if rate is None else 2)
        if (rate is None) != (columns == 1):
            raise _error(file, number, f"expected {columns} {'column' if columns == 1 else 'columns'} as before")
        if time_s < end_s or (rate is not None and times_s and time_s == end_s):
            raise _error(
                file,
                number,
                f"expected a time after {end_s:.10g} s, where the line before is, got {time_s:.10g} s",
                remedy=f"sort the file by time, for example with `sort -g {file.name}`",
            )
        end_s = time_s
        if time_s >= until_s:
            ended = False
            break
        if len(times_s) == MAX_LINES:
            raise _error(file, number, f"more than {MAX_LINES} lines in one phase", remedy="shorten the phase")
        if rate is None:
            if time_s >= from_s:
                times_s.append(time_s)
            continue
        if time_s <= from_s:
            times_s, rates = array("d"), array("d")
        times_s.append(max(time_s, from_s))
        rates.append(rate)
    if not columns:
        raise _error(file, None, "holds no line of a trace", remedy="one time in seconds a line, or a time and a rate")
    return Trace(str(file), times_s, rates if columns == 2 else None, end_s, ended)


def _lines(file: Path) -> Iterator[tuple[int, float, float | None]]:
    """(line number, seconds since the trace's beginning, rate or None) of every line that says something."""
    try:
        with file.open("rb") as stream:
            yield from _parsed(file, iter(lambda: stream.readline(_MAX_LINE_BYTES), b""))
    except OSError as error:
        raise _error(file, None, f"can't be read: {error.strerror}") from error


def _parsed(file: Path, lines: Iterator[bytes]) -> Iterator[tuple[int, float, float | None]]:
    origin_s: float | None = None
    may_be_header = True
    for number, line in enumerate(lines, 1):
        time_s, rate = _number(line), None
        if time_s is None:
            words = _words(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
            if not words:
                continue
            if may_be_header and words[0].lstrip(b"\"'")[:1].isalpha():
                may_be_header = False
                continue
            time_s = _time(words[0])
            rate = _number(words[1]) if len(words) == 2 else None
            if time_s is None or len(words) > 2 or (len(words) == 2 and rate is None):
                raise _unexpected(file, number, line)
        may_be_header = False
        if time_s >= _MILLISECONDS_FROM:
            raise _error(
                file,
                number,
                f"expected seconds, got {_shown(line)}, which looks like milliseconds",
                remedy="divide the times by 1000",
            )
        if origin_s is None:
            origin_s = time_s if time_s >= _UNIX_TIMES_FROM else 0.0
        # Below a microsecond the difference of two Unix times is only the rounding of their text.
        yield number, round(time_s - origin_s, 6) if origin_s else time_s, rate


def _words(line: bytes) -> list[bytes]:
    """The columns of a line; none of an empty one or a comment."""
    words = line.translate(_SEPARATORS).split()
    if len(words) > 1 and b":" in words[1]:
        words[:2] = [words[0] + b"T" + words[1]]
    return words if words and not words[0].startswith(b"#") else []


def _time(word: bytes) -> float | None:
    """Seconds of a number or a date; dates without a zone are UTC."""
    number = _number(word)
    if number is not None or b"-" not in word:
        return number
    try:
        date = datetime.fromisoformat(word.decode("ascii"))
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _number(word: bytes) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if 0 <= number < math.inf and b"_" not in word else None


def _unexpected(file: Path, number: int, line: bytes) -> ScenarioError:
    return _error(file, number, f"expected a time such as `12.25`, or a time and a rate, got {_shown(line)}")


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return f"`{text[:40]}...`" if len(text) > 43 else f"`{text}`"


def _error(file: Path, line: int | None, message: str, *, remedy: str = "") -> ScenarioError:
    return ScenarioError(message, file=file, line=line, remedy=remedy)


def _scaled(times_s: array[float], scale: float) -> Iterator[float]:
    """As many arrivals as `scale` says: number k comes when the trace itself has come to k / scale arrivals.

    Between two arrivals of the trace its count is taken to rise evenly.
    """
    last = len(times_s) - 1
    k = 0
    while (position := k / scale) <= last:
        index = int(position)
        t_s = times_s[index]
        share = position - index
        yield t_s + share * (times_s[index + 1] - t_s) if share else t_s
        k += 1
