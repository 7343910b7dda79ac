"""Where something answers that the harness did not start: a URL, and what of it a proxy in between can keep."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

PORTS = {"http": 80, "postgresql": 5432, "redis": 6379}
EXAMPLES = {
    "http": "http://127.0.0.1:8000",
    "postgresql": "postgresql://user@127.0.0.1:5432/database",
    "redis": "redis://127.0.0.1:6379/0",
}
_SCHEMES = {"postgres": "postgresql"}


@dataclass(frozen=True, slots=True)
class Location:
    """A URL in its parts. `login` is `user:password@` or "", `rest` whatever follows host and port."""

    scheme: str
    login: str
    host: str
    port: int
    rest: str

    @classmethod
    def parse(cls, text: object, *schemes: str) -> Location:
        """Read a URL with one of `schemes` (any of `PORTS` when there are none). Raises ValueError."""
        schemes = schemes or tuple(PORTS)
        example = EXAMPLES[schemes[0]]
        if not isinstance(text, str) or "://" not in text or any(character.isspace() for character in text):
            raise ValueError(f"expected a URL such as `{example}`, got `{text}`")
        parts = urlsplit(text)
        scheme = _SCHEMES.get(parts.scheme, parts.scheme)
        if scheme in ("https", "rediss"):
            raise ValueError(
                f"`{parts.scheme}` can't be used: certificates are not for the proxy in between; "
                f"name a plain address such as `{example}`"
            )
        if scheme not in schemes:
            raise ValueError(f"expected a URL such as `{example}`, got one with `{parts.scheme}://`")
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"the port of `{_shown(text)}` is none: {error}") from error
        if not host:
            raise ValueError(f"`{_shown(text)}` names no host; a URL is written as `{example}`")
        login, at, _ = parts.netloc.rpartition("@")
        rest = text.partition("://")[2][len(parts.netloc) :]
        return cls(scheme, login + at, host, port or PORTS[scheme], rest)

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine for sure: no name but `localhost` is looked up."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def at(self, address: str) -> str:
        """The same URL with another `host:port`: that of a proxy."""
        return f"{self.scheme}://{self.login}{address}{self.rest}"

    def __str__(self) -> str:
        """For people and records: without the password, and without parameters, which may hold one."""
        user, colon, _ = self.login.rstrip("@").partition(":")
        login = f"{user}:***@" if colon else self.login
        return f"{self.scheme}://{login}{self.address}{self.rest.partition('?')[0]}"


def _shown(text: str) -> str:
    """A URL that can't be read, without what may be a password."""
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _url(*schemes: str) -> tuple[PlainValidator, WithJsonSchema]:
    def parse(value: object) -> Location:
        return value if isinstance(value, Location) else Location.parse(value, *schemes)

    pattern = "|".join((*schemes, *(short for short, long in _SCHEMES.items() if long in schemes)))
    shape = {"type": "string", "pattern": f"^({pattern})://", "examples": [EXAMPLES[scheme] for scheme in schemes]}
    return PlainValidator(parse), WithJsonSchema(shape)


AppUrl = Annotated[Location, *_url("http")]
"""The plain HTTP address of something that runs already."""

ServerUrl = Annotated[Location, *_url("postgresql", "redis")]
"""The address of a PostgreSQL or Redis that runs already."""
