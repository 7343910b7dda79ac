"""The file of proxies to start with, in Toxiproxy's own format: a JSON list of name, listen, upstream and enabled.

Read as the real server reads it (keys of any case, `null` for the default, unknown keys ignored), but a mistake is
answered with the line and the field, and an unknown key with a warning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ScenarioError, nearest
from harness.proxy.address import AddressError, port_number, split_host_port
from harness.proxy.collection import ProxySpec

EXAMPLE = '[{"name": "redis", "listen": "127.0.0.1:26379", "upstream": "127.0.0.1:6379"}]'

_TYPES: Mapping[str, type] = {"name": str, "listen": str, "upstream": str, "enabled": bool}
_WORDS: Mapping[type, str] = {str: "a text", bool: "true or false"}
_SPACE = " \t\r\n"

_log = logging.getLogger(__name__)


class ConfigError(ScenarioError):
    """Something in the file of proxies is wrong."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A proxy that the file asks for, and the line it begins at."""

    spec: ProxySpec
    line: int


def read_config(file: Path) -> tuple[Entry, ...]:
    """The proxies of a file. Raises ConfigError."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=file) from error
    entries: list[Entry] = []
    for value, line in _items(file, text):
        entry = Entry(_spec(file, line, value), line)
        for other in entries:
            if other.spec.name == entry.spec.name:
                raise ConfigError(
                    f"`{entry.spec.name}` stands in line {other.line} already", file=file, line=line, field="name"
                )
        entries.append(entry)
    return tuple(entries)


def _items(file: Path, text: str) -> Iterator[tuple[object, int]]:
    """The items of the list, each with the line it begins at."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"no JSON: {error.msg}", file=file, line=error.lineno, column=error.colno, remedy=f"expected: {EXAMPLE}"
        ) from error
    except RecursionError:
        raise ConfigError("no list of proxies: nested too deeply", file=file, remedy=f"expected: {EXAMPLE}") from None
    if not isinstance(whole, list):
        raise ConfigError("no list of proxies", file=file, line=1, remedy=f"expected: {EXAMPLE}")
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    for _ in whole:
        while text[at] in f"{_SPACE},":
            at += 1
        line = text.count("\n", 0, at) + 1
        value, at = decoder.raw_decode(text, at)
        yield value, line


def _spec(file: Path, line: int, value: object) -> ProxySpec:
    if not isinstance(value, dict):
        raise ConfigError(f"no proxy: {json.dumps(value)}", file=file, line=line, remedy=f"expected: {EXAMPLE}")
    fields: dict[str, object] = {"listen": "", "enabled": True}
    unknown = []
    for key, given in value.items():
        name = key.lower()
        if name not in _TYPES:
            unknown.append(key)
        elif given is not None:
            if not isinstance(given, _TYPES[name]):
                raise ConfigError(
                    f"expected {_WORDS[_TYPES[name]]}, found {json.dumps(given)}", file=file, line=line, field=name
                )
            fields[name] = given
    for name in ("name", "upstream"):
        if not fields.get(name):
            remedy = nearest(unknown[0], _TYPES) if unknown else f"expected: {EXAMPLE}"
            raise ConfigError("is missing", file=file, line=line, field=name, remedy=remedy)
    for key in unknown:
        _log.warning("%s:%d: unknown field `%s` is ignored; %s", file, line, key, nearest(key, _TYPES))
    listen, upstream = str(fields["listen"]), str(fields["upstream"])
    for field, address in (("listen", listen), ("upstream", upstream)):
        _check_address(file, line, field, address)
    return ProxySpec(str(fields["name"]), listen, upstream, bool(fields["enabled"]))


def _check_address(file: Path, line: int, field: str, address: str) -> None:
    if not address:
        return
    try:
        port_number(split_host_port(address)[1])
    except AddressError as error:
        raise ConfigError(
            str(error), file=file, line=line, field=field, remedy="expected: host:port, [IPv6 address]:port"
        ) from None
