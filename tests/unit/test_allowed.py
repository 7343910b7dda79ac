"""Allowed times: days and hours of a zone, over midnight, over a change of the clocks, joined where they touch."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.allowed import (
    Hours,
    Window,
    format_days,
    next_start,
    open_until,
    parse_days,
    parse_hours,
    refuse_outside,
)
from harness.errors import ScenarioError

BERLIN = "Europe/Berlin"
OFFICE = Window(parse_days("mon-fri"), parse_hours("09:00-17:00"), BERLIN)
NIGHT = Window(parse_days("mon-thu"), parse_hours("22:00-05:00"), BERLIN)
MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat, sun", (5, 6)),
        ("Fri-Mon", (0, 4, 5, 6)),
        ("wednesday", (2,)),
        ("mon, wed-thu", (0, 2, 3)),
    ],
)
def test_days(text: str, days: tuple[int, ...]) -> None:
    assert parse_days(text) == days
    assert parse_days(format_days(days)) == days


@pytest.mark.parametrize("text", ["", "mo", "montag", "mon-", "mon-fri-sat", "mon;tue", "weekdays"])
def test_no_days(text: str) -> None:
    with pytest.raises(ValueError, match="expected days"):
        parse_days(text)


def test_hours() -> None:
    assert parse_hours("9:00 - 17:30") == Hours(540, 1050)
    assert str(parse_hours("22:00-06:00")) == "22:00-06:00"
    for wrong in ("9-17", "09:00-25:00", "09:60-10:00", "24:00-10:00", "08:00-08:00", "09:00"):
        with pytest.raises(ValueError):
            parse_hours(wrong)


def test_within_the_office_hours_of_a_zone() -> None:
    # 2026-11-25 is a Wednesday; Berlin is an hour ahead of UTC then.
    assert open_until([OFFICE], utc("2026-11-25T08:00")) == utc("2026-11-25T16:00")
    assert open_until([OFFICE], utc("2026-11-25T07:59")) is None
    assert open_until([OFFICE], utc("2026-11-25T16:00")) is None
    assert next_start([OFFICE], utc("2026-11-25T12:00"), MINUTE) == utc("2026-11-25T12:00")
    assert next_start([OFFICE], utc("2026-11-25T15:59:30"), MINUTE) == utc("2026-11-26T08:00")
    assert next_start([OFFICE], utc("2026-11-27T18:00"), MINUTE) == utc("2026-11-30T08:00")
    assert next_start([OFFICE], utc("2026-11-25T12:00"), timedelta(hours=9)) is None


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    assert open_until([NIGHT], utc("2026-11-27T03:59")) == utc("2026-11-27T04:00")  # Thursday's night, on Friday
    assert open_until([NIGHT], utc("2026-11-27T22:00")) is None  # Friday's own
    assert next_start([NIGHT], utc("2026-11-27T22:00"), MINUTE) == utc("2026-11-30T21:00")


def test_times_that_touch_are_one() -> None:
    whole = [Window(parse_days("sat, sun"), parse_hours("00:00-24:00"), "UTC")]
    assert next_start(whole, utc("2026-11-24T00:00"), timedelta(hours=47)) == utc("2026-11-28T00:00")
    always = [Window(parse_days("mon-sun"), parse_hours("00:00-24:00"), "UTC")]
    assert next_start(always, utc("2026-11-24T00:00"), timedelta(days=60)) == utc("2026-11-24T00:00")
    both = [Window((2,), parse_hours("08:00-12:00"), "UTC"), Window((2,), parse_hours("12:00-14:00"), "UTC")]
    assert open_until(both, utc("2026-11-25T09:00")) == utc("2026-11-25T14:00")


def test_clocks_that_are_put_forward_move_the_hours() -> None:
    sunday = [Window((6,), parse_hours("01:00-04:00"), BERLIN)]
    assert open_until(sunday, utc("2026-03-29T00:30")) == utc("2026-03-29T02:00")  # two hours long that day
    assert open_until([OFFICE], utc("2026-07-01T07:00")) == utc("2026-07-01T15:00")


def test_far_zones_are_looked_at_on_their_own_date() -> None:
    kiritimati = [Window((0,), parse_hours("00:00-02:00"), "Pacific/Kiritimati")]  # UTC+14: Monday begins on Sunday
    assert open_until(kiritimati, utc("2026-11-29T10:30")) == utc("2026-11-29T12:00")
    niue = [Window((6,), parse_hours("22:00-24:00"), "Pacific/Niue")]  # UTC-11: Sunday ends on Monday
    assert open_until(niue, utc("2026-11-30T09:30")) == utc("2026-11-30T11:00")


def test_what_is_refused_says_when_it_may_start() -> None:
    refuse_outside([], utc("2026-11-25T20:00"), 60, name="x", file="x.yaml")
    refuse_outside([OFFICE], utc("2026-11-25T12:00"), 60, name="x", file="x.yaml")
    with pytest.raises(ScenarioError) as outside:
        refuse_outside([OFFICE], utc("2026-11-25T20:00"), 60, name="x", file="x.yaml")
    text = str(outside.value)
    assert "x.yaml: allowed: `x` may not run now (Wed 2026-11-25 21:00 CET)" in text
    assert "it may start Thu 2026-11-26 09:00 CET" in text
    assert "--set allowed=any" in text
    with pytest.raises(ScenarioError, match=r"takes about 120 s, and the time allowed for it .* ends Wed .* 17:00 CET"):
        refuse_outside([OFFICE], utc("2026-11-25T15:59"), 120, name="x", file="x.yaml")
