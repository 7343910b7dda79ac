"""JSON values into fields and back by the rules of Go's `encoding/json`, down to the error texts: clients see both.

What differs from Python's `json`: keys match fields whatever their case; of duplicate keys the last wins; unknown
keys are ignored; `null` leaves the default; an integer field takes no `1.0`, `1e3` or `"1"`; `<`, `>` and `&` are
escaped on output. A body that is JSON but of the wrong types is refused by its first wrong field.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from harness.proxy.jsonscan import DecodeError, Number, Object, Value

INT64_MAX = 2**63 - 1

Convert: TypeAlias = Callable[[Value], object]


class WrongTypeError(Exception):
    """A `Convert` refuses a value; `found` and `wanted` are worded as Go words them."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(found, wanted)
        self.found = found
        self.wanted = wanted


def read_fields(value: Value, fields: Mapping[str, Convert], *, type_name: str, path: str = "") -> dict[str, object]:
    """The fields of an object that are there and not null, converted.

    `type_name` is the Go type of the object and `path` leads to it from the top of the body (`attributes.`): an error
    names both. Like Go, goes on after a wrong type and reports the first one. Raises DecodeError.
    """
    if value is None:
        return {}
    if not isinstance(value, Object):
        raise DecodeError(f"json: cannot unmarshal {kind(value)} into Go value of type {type_name}")
    folded = {name.casefold(): name for name in fields}
    found: dict[str, object] = {}
    errors: list[DecodeError] = []
    for key, item in value.pairs:
        name = key if key in fields else folded.get(key.casefold())
        if name is None or item is None:
            continue
        try:
            found[name] = fields[name](item)
        except WrongTypeError as error:
            struct_name = "" if type_name.startswith("struct") else type_name.rpartition(".")[2]
            errors.append(
                DecodeError(
                    f"json: cannot unmarshal {error.found} into Go struct field {struct_name}.{path}{name}"
                    f" of type {error.wanted}"
                )
            )
    if errors:
        raise errors[0]
    return found


def kind(value: Value) -> str:
    """What Go calls a value of this type."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case Number():
            return "number"
        case list():
            return "array"
        case Object():
            return "object"
    return "null"


def text(value: Value) -> str:
    """A Go `string`. Raises WrongTypeError."""
    if not isinstance(value, str):
        raise WrongTypeError(kind(value), "string")
    return value


def boolean(value: Value) -> bool:
    """A Go `bool`. Raises WrongTypeError."""
    if not isinstance(value, bool):
        raise WrongTypeError(kind(value), "bool")
    return value


def integer(wanted: str) -> Convert:
    """A Go integer of 64 bits; `wanted` is the type that an error names, `int` or `int64`."""

    def convert(value: Value) -> int:
        if not isinstance(value, Number):
            raise WrongTypeError(kind(value), wanted)
        if not re.fullmatch(r"-?[0-9]{1,19}", value.text) or not -INT64_MAX - 1 <= int(value.text) <= INT64_MAX:
            raise WrongTypeError(f"number {value.text}", wanted)
        return int(value.text)

    return convert


def float32(value: Value) -> float:
    """A Go `float32`: rounded to single precision, refused only when it does not fit. Raises WrongTypeError."""
    if not isinstance(value, Number):
        raise WrongTypeError(kind(value), "float32")
    rounded = _single(float(value.text))
    if math.isinf(rounded):
        raise WrongTypeError(f"number {value.text}", "float32")
    return rounded


@dataclass(frozen=True, slots=True)
class Float32:
    """Marks a number to be written with as few digits as tell it apart in single precision."""

    value: float


def dump(value: object) -> str:
    """Compact JSON as Go writes it. Takes dict, list, tuple, str, bool, int, None and Float32."""
    match value:
        case Float32():
            return _shortest(value.value)
        case dict():
            return "{" + ",".join(f"{_quoted(str(key))}:{dump(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(dump, value)) + "]"
        case str():
            return _quoted(value)
    return json.dumps(value)


_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def _quoted(string: str) -> str:
    return json.dumps(string, ensure_ascii=False).translate(_ESCAPED)


def _single(value: float) -> float:
    """The nearest number of single precision; infinite when there is none."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _shortest(value: float) -> str:
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits = next((p for p in range(8) if _single(float(f"{value:.{p}e}")) == value), 8)
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if -6 <= int(exponent) < 21:
        return f"{Decimal(f'{mantissa}e{exponent}'):f}"
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
