"""Every choice that decides how the shop takes a fault, in one place; target.yaml documents each of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields

_PREFIX = "SHOP_"


class SettingsError(ValueError):
    """An environment variable names no setting or has a value that it can't have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings by field; each is read from `SHOP_<FIELD>`. The defaults are those of the `fragile` preset."""

    threads: int = 16
    keep_alive: bool = True
    hold_seconds: float = 0.08
    product_seconds: float = 0.0
    pool_size: int = 5
    pool_wait_seconds: float = 30.0
    pool_reconnect_seconds: float = 300.0
    connect_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 0.0
    checkout_bulkhead: int = 0
    redis_timeout_seconds: float = 5.0
    cache_fallback: bool = False
    cache_ttl_seconds: float = 60.0
    cache_single_flight: bool = False
    auth_timeout_seconds: float = 30.0
    auth_retries: int = 2
    payments_timeout_seconds: float = 30.0
    payments_retries: int = 2
    retry_backoff_seconds: float = 0.0
    breaker: bool = False
    breaker_failures: int = 5
    breaker_reset_seconds: float = 1.0
    shed_after_seconds: float = 0.0
    shutdown_delay_seconds: float = 0.0
    graceful_timeout_seconds: float = 5.0
    recycle_at: int = 0
    auth_seconds: float = 0.005
    payments_seconds: float = 0.005

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; those that are absent keep their defaults.

        Numbers in decimal, durations in seconds, booleans as `0` or `1`. Raises SettingsError.
        """
        types = {variable(field.name): (field.name, str(field.type)) for field in fields(cls)}
        values = {}
        for name, text in environment.items():
            if not name.startswith(_PREFIX):
                continue
            if name not in types:
                nearest = difflib.get_close_matches(name, types, n=1, cutoff=0.0)[0]
                raise SettingsError(f"{name} is not a setting of the shop; the nearest is {nearest}")
            field_name, kind = types[name]
            values[field_name] = _parse(name, kind, text)
        return cls(**values)  # type: ignore[arg-type]


def variable(field_name: str) -> str:
    """The environment variable of a field of Settings."""
    return _PREFIX + field_name.upper()


def _parse(name: str, kind: str, text: str) -> float | bool:
    if kind == "bool":
        if text not in ("0", "1"):
            raise SettingsError(f"{name}: expected 0 or 1, got {text!r}")
        return text == "1"
    expected = "a whole number" if kind == "int" else "a number"
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError as error:
        raise SettingsError(f"{name}: expected {expected}, got {text!r}") from error
    if not 0 <= value < float("inf"):
        raise SettingsError(f"{name}: expected {expected} that is not negative, got {text!r}")
    return value
