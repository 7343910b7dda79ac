"""Field types of scenario and manifest files: text in, base units out, and what an editor is told about each."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from harness import allowed, expectations, units


class Model(BaseModel):
    """Base of everything that is read from a file: immutable, unknown keys refused, kebab-case aliases."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"), validate_default=False
    )


def kind_of(value: Any) -> str:
    """What a value from a file is, in words."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"`{value}`" if value != "" else "nothing"


def _text(parse: Callable[[str], Any], expected: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"expected {expected}, got {kind_of(value)}")
        return parse(value)

    return BeforeValidator(read)


def _quantity(pattern: str, description: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": pattern, "description": description, "examples": list(examples)}
    )


def _checked(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        parse(text)
        return text

    return check


def _known_zone(name: str) -> None:
    zones = available_timezones()
    if name not in zones:
        close = difflib.get_close_matches(name, zones, n=1) or [zone for zone in zones if zone.endswith(f"/{name}")]
        hint = f"; did you mean `{close[0]}`?" if close else ""
        raise ValueError(f"expected the name of a time zone such as `Europe/Berlin` or `UTC`, got `{name}`{hint}")


_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DAY = r"[A-Za-z]{3,9}"
Duration = Annotated[
    float,
    _text(units.parse_duration, "a duration such as `10s`"),
    Field(gt=0, le=7 * 86400),
    _quantity(rf"^{_NUMBER}(us|ms|s|m|h)$", "a duration with its unit: us, ms, s, m or h", "250ms", "10s", "2m"),
]
"""Seconds, above zero and at most a week, from `10s` or `250ms`."""

Size = Annotated[
    float,
    _text(units.parse_size, "a size such as `400MB`"),
    Field(gt=0, le=4e9),
    _quantity(rf"^{_NUMBER}(B|KB|MB|GB)$", "a size with its unit: B, KB, MB or GB", "400MB"),
]
"""Bytes, above zero and at most 4 GB, from `400MB`."""

Rate = Annotated[
    float,
    _text(units.parse_rate, "a rate such as `120/s`"),
    Field(gt=0, le=1_000_000),
    _quantity(rf"^{_NUMBER}/(s|min|h)$", "arrivals per unit of time: /s, /min or /h", "120/s", "600/min"),
]
"""Arrivals per second, above zero, from `120/s` or `600/min`."""

Share = Annotated[
    float,
    _text(units.parse_percentage, "a percentage such as `10%`"),
    Field(ge=0, le=1),
    _quantity(rf"^{_NUMBER}%$", "a percentage from 0% to 100%", "10%"),
]
"""A share (0.1) from `10%`."""

Speed = Annotated[
    float,
    _text(units.parse_percentage, "a percentage such as `200%`"),
    Field(ge=0.001, le=1000),
    _quantity(rf"^{_NUMBER}%$", "a percentage of the speed it was recorded at", "200%"),
]
"""How much faster than recorded (2.0), from `200%`."""

Count = Annotated[
    int, Field(ge=1, le=1_000_000), WithJsonSchema({"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1})
]
"""A whole number of at least one."""

Limit = Annotated[
    int, Field(ge=0, le=100), WithJsonSchema({"type": ["integer", "string"], "pattern": "^[0-9]+$", "maximum": 100})
]
"""A small whole number, zero included."""

Standby = Annotated[
    Literal["asynchronous", "synchronous"] | None,
    BeforeValidator(lambda value: None if value == "none" else value),
    WithJsonSchema({"enum": ["none", "asynchronous", "synchronous"]}),
]
"""How a second server follows a database server; None, from `none`, where there is no second one."""

Flag = Annotated[bool, WithJsonSchema({"type": ["boolean", "string"], "enum": [True, False, "true", "false"]})]
"""true or false."""

SettingValue = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""The value of a target's setting as written; the manifest knows its type."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_.-]{0,62}[a-z0-9])?$")]
"""A name that serves in file names, host names and environment: small letters, digits, `-`, `_`, `.`."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, max_length=4000)]
"""Something to read."""

Where = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, max_length=200)]
"""A name or path of something else; short enough for any file system."""

Sentence = Annotated[
    str,
    _text(_checked(expectations.parse), "a sentence such as `no cascade`"),
    WithJsonSchema(
        {
            "type": "string",
            "description": "what must hold in the fault window, against the same seconds of the baseline arm",
            "examples": [
                "error-rate increases by < 1pp",
                "error-rate of checkout < 2%",
                "p95 of checkout increases by < 50%",
                "goodput decreases by < 5%",
                "failures of checkout < 1",
                "recovers within 10s",
                "no cascade",
                expectations.NOTHING_LOST,
            ],
        }
    ),
]
"""A sentence of `expect`, kept in the user's words."""

AbortSentence = Annotated[
    str,
    _text(_checked(expectations.parse_abort), "a sentence such as `error-rate > 50% for 5s`"),
    WithJsonSchema(
        {
            "type": "string",
            "description": "ends the run early; the outcome is `aborted`",
            "examples": ["error-rate > 50% for 5s", "p95 of checkout > 2s for 10s"],
        }
    ),
]
"""A sentence of `abort-when`, kept in the user's words."""

Days = Annotated[
    tuple[int, ...],
    _text(allowed.parse_days, "days such as `mon-fri`"),
    _quantity(
        rf"^{_DAY}(\s*-\s*{_DAY})?(\s*,\s*{_DAY}(\s*-\s*{_DAY})?)*$",
        "days of the week on which the hours begin",
        "mon-fri",
        "sat, sun",
    ),
]
"""Weekdays, 0 is Monday, from `mon-fri` or `mon, wed`."""

Hours = Annotated[
    allowed.Hours,
    _text(allowed.parse_hours, "hours such as `09:00-17:00`"),
    _quantity(
        r"^[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}$",
        "from when to when; an end that is not after the start is on the next day",
        "09:00-17:00",
        "22:00-06:00",
    ),
]
"""A stretch of a day, from `09:00-17:00`."""

Zone = Annotated[
    str,
    _text(_checked(_known_zone), "the name of a time zone such as `Europe/Berlin`"),
    WithJsonSchema({"type": "string", "description": "an IANA time zone", "examples": ["Europe/Berlin", "UTC"]}),
]
"""The name of a time zone that this machine knows."""
