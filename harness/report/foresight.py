"""The power of a plan in words, for `harness plan`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.analysis.power import POWERS, Foresight, Power
from harness.expectations import parse
from harness.report import numbers

_WIDTH = 100


def foresight_text(foresight: Foresight) -> str:
    """What would be found, expectation by expectation, and what can't be decided."""
    return "\n".join(_lines(foresight))


def foresight_data(foresight: Foresight) -> dict[str, Any]:
    """The same for a program; `found` maps a power to the smallest true value that fails with it."""
    return {
        "basis": foresight.basis,
        "warnings": list(foresight.warnings),
        "expectations": [
            {**asdict(power), "found": {f"{p:g}": value for p, value in zip(POWERS, power.found, strict=True)}}
            for power in foresight.powers
        ],
    }


def _lines(foresight: Foresight) -> Iterator[str]:
    yield f"what this can tell ({foresight.basis})"
    for power in foresight.powers:
        yield f"  {power.expectation}"
        yield from _wrapped(_found(power))
        yield from _wrapped(f"! {power.warning}" if power.warning else "")
    for warning in foresight.warnings:
        yield from _wrapped(f"! {warning}")


def _found(power: Power) -> str:
    values = [_value(power, value) for value in power.found if value is not None]
    if len(values) < len(POWERS):
        return ""
    told = ", ".join(f"from {value} on with {p:.0%}" for value, p in zip(values, POWERS, strict=True))
    return f"finds a failure {told} power ({numbers.whole(power.arrivals or 0)} arrivals in the fault)"


def _value(power: Power, value: float) -> str:
    if parse(power.expectation).form == "limit":
        return numbers.with_unit(value, power.unit)
    sign = -1 if parse(power.expectation).metric == "goodput" else 1
    return numbers.signed(sign * value, power.unit)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")
