"""Numbers for people: as many digits as mean something, units beside them, a dash where there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from harness.analysis.verdict import Comparison, Interval

NONE = "–"
_MINUS = "−"
_CHANGE = re.compile(r"\b(in|de)creases by\b")


def number(value: float | None, *, digits: int = 3) -> str:
    """`value` to `digits` significant digits, without an exponent; thousands are grouped."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    decimals = max(0, digits - 1 - magnitude) if abs(value) < 10**digits else 0
    text = f"{value:,.{min(decimals, 6)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", _MINUS) if text != "-0" else "0"


def share(value: float | None) -> str:
    """A share (0..1) as a percentage; what is not zero is never shown as zero, nor what is not all as all."""
    if value is None or math.isnan(value):
        return NONE
    percent = value * 100
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 99.99 < percent < 100:
        return "> 99.99 %"
    decimals = 2 if percent < 1 or 99 < percent < 100 else 1
    text = f"{percent:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def about(value: float) -> str:
    """A share that is no more exact than a percent."""
    return "< 1 %" if 0 < value < 0.005 else f"{value * 100:.0f} %"


def milliseconds(value: float | None) -> str:
    """A response time in ms, or in seconds from 10 s on."""
    if value is None or math.isnan(value):
        return NONE
    return f"{number(value / 1000)} s" if abs(value) >= 10_000 else f"{number(value)} ms"


def seconds(value: float | None) -> str:
    """Seconds with at most one decimal."""
    return NONE if value is None or math.isnan(value) else f"{number(round(value, 1), digits=4)} s"


def moment(value: str | float) -> str:
    """When something was, in UTC to the second: ISO 8601 or seconds since 1970."""
    if isinstance(value, str):
        return f"{value[:19].replace('T', ' ')} UTC"
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"


def whole(value: int) -> str:
    """A count, thousands grouped."""
    return f"{value:,}"


def signed(value: float | None, unit: str) -> str:
    """A difference with its sign and unit: `+97.3 points`, `−4 %`."""
    if value is None or math.isnan(value):
        return NONE
    return ("+" if value > 0 else "") + with_unit(value, unit)


def with_unit(value: float | None, unit: str) -> str:
    """`value` with its unit of a comparison (`pp`, `%`, `ms`, `s`, `1/s` or none)."""
    if value is None or math.isnan(value):
        return NONE
    text = number(value)
    spoken = {"pp": "point" if text.lstrip(_MINUS) == "1" else "points", "1/s": "per s"}
    return f"{text} {spoken.get(unit, unit)}".strip()


def interval(bounds: Interval, unit: str, *, sign: bool = True) -> str:
    """`+95 to +99.1 points`; a missing bound is written as such; "" when there is no interval at all."""
    if bounds.low is None and bounds.high is None:
        return ""
    write = signed if sign else with_unit
    if bounds.low is None:
        return f"up to {write(bounds.high, unit)}"
    if bounds.high is None:
        return f"at least {write(bounds.low, unit)}"
    low = write(bounds.low, "")
    return f"{low} to {write(bounds.high, unit)}"


def p_value(value: float | None) -> str:
    """A p-value to two digits; very small ones as a bound."""
    if value is None:
        return NONE
    return "< 0.0001" if value < 0.0001 else number(value, digits=2)


def confidence(comparisons: Iterable[Comparison]) -> str:
    """The confidence of their intervals, for a heading: `95 %`; of repeated runs it is that of those with numbers."""
    found = {comparison.confidence for comparison in comparisons if comparison.n_fault}
    return f"{min(found, default=0.95) * 100:.0f} %"


def level(comparison: Comparison, value: float | None) -> str:
    """One arm's own value of a comparison, in the metric's unit rather than the difference's."""
    if value is None:
        return NONE
    if comparison.metric == "error-rate":
        return share(value)
    if comparison.metric == "goodput":
        return f"{number(value)} per s"
    if comparison.metric == "recovery":
        return f"> {seconds(value)}" if is_lower_bound(comparison) else seconds(value)
    if comparison.metric.startswith("p") and comparison.metric[1:2].isdigit():
        return milliseconds(value)
    return number(value)


def is_change(comparison: Comparison) -> bool:
    """Whether an expectation bounds a change between the arms, rather than the value of one of them."""
    return bool(_CHANGE.search(comparison.expectation))


def is_lower_bound(comparison: Comparison) -> bool:
    """Whether the value is only known to be at least so much: a recovery that was not seen."""
    return comparison.interval.low is not None and comparison.interval.high is None


def measured(comparison: Comparison) -> str:
    """What is held against the margin: a change with its sign, or a value; a dash without one."""
    if comparison.difference is None:
        return NONE
    if is_change(comparison):
        return signed(comparison.difference, comparison.unit)
    text = with_unit(comparison.difference, comparison.unit)
    return f"> {text}" if is_lower_bound(comparison) else text


def bounds(comparison: Comparison) -> str:
    """The interval of what is measured; "" when there is none, or it says no more than the value."""
    if is_lower_bound(comparison) and not is_change(comparison):
        return ""
    return interval(comparison.interval, comparison.unit, sign=is_change(comparison))


def difference(comparison: Comparison) -> str:
    """What is measured, with its interval: `+62 points (+57.3 to +66.4 points)`; a dash without one."""
    limits = bounds(comparison)
    return f"{measured(comparison)} ({limits})" if limits else measured(comparison)
