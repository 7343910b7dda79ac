"""Quantities with units, both ways."""

from collections.abc import Callable

import pytest

from harness import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10.0), ("250ms", 0.25), ("2m", 120.0), ("1h", 3600.0), ("50us", 0.00005), ("0s", 0.0), ("0.3s", 0.3)],
)
def test_a_duration_is_the_nearest_float_in_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "rate"), [("120/s", 120.0), ("600/min", 10.0), ("36/h", 0.01), ("0.5/s", 0.5)])
def test_a_rate_is_per_second(text: str, rate: float) -> None:
    assert units.parse_rate(text) == rate


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("+30%", 0.3), ("-20%", -0.2), ("0.1%", 0.001)])
def test_a_percentage_is_a_share_with_its_sign(text: str, share: float) -> None:
    assert units.parse_percentage(text) == share


@pytest.mark.parametrize(("text", "size"), [("64MB", 64e6), ("512KB", 512e3), ("1.5GB", 1.5e9), ("100B", 100.0)])
def test_a_size_is_in_bytes(text: str, size: float) -> None:
    assert units.parse_size(text) == size
    assert units.parse_byte_rate(f"{text}/s") == size
    assert units.format_size(size) == text
    assert units.format_byte_rate(size) == f"{text}/s"


def test_points_are_hundredths() -> None:
    assert units.parse_points("1pp") == 0.01
    assert units.parse_points("7pp") == 0.07


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (units.parse_duration, "10", "without a unit"),
        (units.parse_duration, "10 s", "without a space"),
        (units.parse_duration, "10sec", "allowed: h, m, ms, s, us"),
        (units.parse_duration, "-1s", "not negative"),
        (units.parse_duration, "", "such as `10s`"),
        (units.parse_duration, "soon", "such as `10s`"),
        (units.parse_duration, "1e3s", "such as `10s`"),
        (units.parse_duration, "infs", "such as `10s`"),
        (units.parse_rate, "120", "/min"),
        (units.parse_rate, "120/sec", "did you mean `/s`"),
        (units.parse_percentage, "0.3", "such as `30%`"),
        (units.parse_points, "1%", "such as `1pp`"),
        (units.parse_size, "64M", "did you mean `MB`"),
        (units.parse_byte_rate, "64KB", "did you mean `KB/s`"),
    ],
)
def test_an_error_says_what_was_expected(parse: Callable[[str], float], text: str, said: str) -> None:
    with pytest.raises(units.UnitError, match="expected") as caught:
        parse(text)
    assert said in str(caught.value)
    assert f"`{text}`" in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "250ms"), (1.5, "1.5s"), (90.0, "90s"), (120.0, "2m"), (7200.0, "2h"), (0.00005, "50us")],
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


def test_the_others_are_written_short() -> None:
    assert units.format_rate(120.0) == "120/s"
    assert units.format_percentage(0.07) == "7%"
    assert units.format_points(0.015) == "1.5pp"
