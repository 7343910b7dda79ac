"""When a run may take place: `mon-fri 09:00-17:00` on the clock and the calendar of a named time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from harness.errors import ScenarioError, nearest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANY = "any"
_MINUTES_A_DAY = 24 * 60
_WEEK = timedelta(days=8)
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Hours:
    """A stretch of a day in minutes since midnight; one that ends before it starts goes on into the next day."""

    start_min: int
    end_min: int

    def __str__(self) -> str:
        return "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.start_min, self.end_min))


@dataclass(frozen=True, slots=True)
class Window:
    """Hours that begin on each of `days` (0 is Monday) in the zone of that IANA name."""

    days: tuple[int, ...]
    hours: Hours
    timezone: str

    def __str__(self) -> str:
        return f"{format_days(self.days)} {self.hours} {self.timezone}"

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """From when to when it is open, in UTC, if it begins on that day."""
        if day.weekday() not in self.days:
            return None
        overnight = self.hours.end_min <= self.hours.start_min
        return self._at(day, self.hours.start_min), self._at(day, self.hours.end_min + overnight * _MINUTES_A_DAY)

    def _at(self, day: date, minute: int) -> datetime:
        days, minute = divmod(minute, _MINUTES_A_DAY)
        wall = datetime.combine(day + timedelta(days=days), time(minute // 60, minute % 60))
        return wall.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)


def parse_days(text: str) -> tuple[int, ...]:
    """Weekdays of `mon-fri`, `sat`, `mon, wed-thu` or `fri-mon`, ascending. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip().lower() for word in part.partition("-"))
        start, end = _day(first), _day(last if dash else first)
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return tuple(sorted(found))


def format_days(days: Sequence[int]) -> str:
    """`mon-fri`, `mon, wed-thu`."""
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs)


def parse_hours(text: str) -> Hours:
    """`09:00-17:00`; `22:00-06:00` ends on the next day, `00:00-24:00` is all of it. Raises ValueError."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected hours such as `09:00-17:00`, got `{text}`")
    start_hour, start, end_hour, end = (int(part) for part in match.groups())
    hours = Hours(start_hour * 60 + start, end_hour * 60 + end)
    if start > 59 or end > 59 or hours.start_min >= _MINUTES_A_DAY or hours.end_min > _MINUTES_A_DAY:
        raise ValueError(f"expected times of a day, from 00:00 to 24:00, got `{text}`")
    if hours.start_min == hours.end_min:
        raise ValueError(f"`{text}` has no length; write `00:00-24:00` for the whole day")
    return hours


def open_until(windows: Sequence[Window], at: datetime, lasts: timedelta = timedelta()) -> datetime | None:
    """Until when (UTC) there is no break in the allowed time that `at` is in, as far as `lasts` and a week ahead."""
    return next((end for start, end in _spans(windows, at, lasts) if start <= at < end), None)


def next_start(windows: Sequence[Window], at: datetime, lasts: timedelta) -> datetime | None:
    """The first moment from `at` on (UTC) at which something that takes so long may start; None when it never fits."""
    return next(
        (max(start, at) for start, end in _spans(windows, at, lasts) if max(start, at) + lasts <= end),
        None,
    )


def refuse_outside(windows: Sequence[Window], at: datetime, lasts_s: float, *, name: str, file: str) -> None:
    """Raise ScenarioError, with when it next may start, unless a run that begins at `at` ends in the allowed time."""
    lasts = timedelta(seconds=lasts_s)
    begin = next_start(windows, at, lasts)
    if not windows or begin == at:
        return
    zone = ZoneInfo(windows[0].timezone)
    allowed = "; ".join(str(window) for window in windows)
    until = open_until(windows, at)
    if until is None:
        why = f"`{name}` may not run now ({moment(at, zone)}), only {allowed}"
    else:
        why = (
            f"`{name}` takes about {lasts_s:.0f} s, and the time allowed for it ({allowed}) ends {moment(until, zone)}"
        )
    when = f"it may start {moment(begin, zone)}" if begin else "it takes longer than it is ever allowed to"
    raise ScenarioError(
        why, file=file, field="allowed", remedy=f"{when}; at any other time, knowingly: --set allowed={ANY}"
    )


def moment(at: datetime, zone: ZoneInfo) -> str:
    """`Thu 2026-11-26 09:00 CET`."""
    return at.astimezone(zone).strftime("%a %Y-%m-%d %H:%M %Z")


def _day(word: str) -> int:
    name = word[:3]
    if name not in DAYS or not re.fullmatch(
        r"(mon|fri|sun)(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|sat(urday)?", word
    ):
        raise ValueError(f"expected days such as `mon-fri` or `sat, sun`, got `{word}`; {nearest(word, DAYS)}")
    return DAYS.index(name)


def _spans(windows: Sequence[Window], at: datetime, lasts: timedelta) -> list[tuple[datetime, datetime]]:
    """The allowed times around `at` and after it, in order, those that touch each other joined."""
    first = at.date() - timedelta(days=2)  # a window may have begun yesterday, and zones are up to a day apart
    days = [first + timedelta(days=n) for n in range((_WEEK + lasts).days + 4)]
    spans = sorted(span for window in windows for day in days if (span := window.on(day)))
    joined: list[tuple[datetime, datetime]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:
            joined.append((start, end))
    return joined
