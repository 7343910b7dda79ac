"""Quantities as people write them (`250ms`, `120/s`, `30%`, `1pp`), and back.

Every quantity is one number followed at once by its unit. Parsing is exact decimal arithmetic up to the last
step, so `250ms` is the float nearest to 0.25; `format_*` gives the shortest text that parses to the same value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from harness.errors import nearest

_DURATIONS = {"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600"}
_RATES = {"/s": 1, "/min": 60, "/h": 3600}
_SIZES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_BYTE_RATES = {f"{unit}/s": size for unit, size in _SIZES.items()}
_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)(?P<unit>[^0-9.+-].*)?", re.DOTALL)


class UnitError(ValueError):
    """A text is not the quantity that was expected; the message says what was, with an example."""


def parse_duration(text: str) -> float:
    """Seconds of `10s`, `250ms`, `2m`, `1h`, `50us`. Raises UnitError."""
    number, unit = _split(text, "a duration such as `10s` or `250ms`", _DURATIONS)
    return float(_not_negative(number, text, "a duration") * Decimal(_DURATIONS[unit]))


def parse_rate(text: str) -> float:
    """Events per second of `120/s`, `600/min`, `10/h`. Raises UnitError."""
    number, unit = _split(text, "a rate such as `120/s` or `600/min`", _RATES)
    return float(_not_negative(number, text, "a rate") / _RATES[unit])


def parse_percentage(text: str) -> float:
    """The share (0.3) of `30%`; a sign is kept (`+30%` is 0.3, `-20%` is -0.2). Raises UnitError."""
    number, _ = _split(text, "a percentage such as `30%`", {"%": ""})
    return float(number / 100)


def parse_size(text: str) -> float:
    """Bytes of `64MB`, `512KB`, `1GB`, `100B`; 1 KB is 1,000 bytes. Raises UnitError."""
    number, unit = _split(text, "a size such as `64MB`", _SIZES)
    return float(_not_negative(number, text, "a size") * _SIZES[unit])


def parse_byte_rate(text: str) -> float:
    """Bytes per second of `100KB/s`, `2MB/s`. Raises UnitError."""
    number, unit = _split(text, "bytes per second such as `100KB/s`", _BYTE_RATES)
    return float(_not_negative(number, text, "a rate") * _BYTE_RATES[unit])


def parse_points(text: str) -> float:
    """The share (0.01) of `1pp`, one percentage point. Raises UnitError."""
    number, _ = _split(text, "percentage points such as `1pp`", {"pp": ""})
    return float(_not_negative(number, text, "a margin") / 100)


def format_duration(seconds: float) -> str:
    """`250ms`, `1.5s`, `2m`, `1h`: whole hours or minutes, else the largest unit of which there is at least one."""
    value = Decimal(repr(float(seconds)))
    whole = [unit for unit in ("h", "m") if value and value % Decimal(_DURATIONS[unit]) == 0]
    filled = [unit for unit in ("s", "ms", "us") if value >= Decimal(_DURATIONS[unit]) or not value]
    unit = [*whole, *filled, "us"][0]
    return f"{_plain(value / Decimal(_DURATIONS[unit]))}{unit}"


def format_rate(per_second: float) -> str:
    """`120/s`."""
    return f"{_plain(Decimal(repr(float(per_second))))}/s"


def format_percentage(share: float) -> str:
    """`30%` for 0.3."""
    return f"{_plain(Decimal(repr(float(share))) * 100)}%"


def format_size(size: float) -> str:
    """`64MB` for 64,000,000: the largest unit of which there is at least one."""
    value = Decimal(repr(float(size)))
    unit = next((unit for unit in reversed(_SIZES) if value >= _SIZES[unit]), "B")
    return f"{_plain(value / _SIZES[unit])}{unit}"


def format_byte_rate(per_second: float) -> str:
    """`100KB/s` for 100,000."""
    return f"{format_size(per_second)}/s"


def format_points(share: float) -> str:
    """`1pp` for 0.01."""
    return f"{_plain(Decimal(repr(float(share))) * 100)}pp"


def _split(text: str, expected: str, units: Mapping[str, object]) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(f"expected {expected}, got `{text}`")
    unit = match["unit"]
    if unit is None:
        raise UnitError(f"expected {expected}, got `{text}` without a unit; {nearest('', units)}")
    if unit.strip() in units and unit not in units:
        raise UnitError(f"expected {expected}, got `{text}`; write it without a space")
    if unit not in units:
        raise UnitError(f"expected {expected}, got `{text}`; {nearest(unit, units)}")
    return Decimal(match["number"]), unit


def _not_negative(number: Decimal, text: str, what: str) -> Decimal:
    if number < 0:
        raise UnitError(f"expected {what} that is not negative, got `{text}`")
    return number


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
