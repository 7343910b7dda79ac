"""Where an HTTP/1.1 message ends: heads read by llhttp (`httptools`), bodies counted without touching a byte.

Source of the rules: RFC 9112, sections 6 and 9.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httptools

_LINE_MOST_BYTES = 16384
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class NotHttpError(Exception):
    """The bytes are no HTTP/1."""


class Framing(Protocol):
    """How much of a body there is still to come."""

    @property
    def over(self) -> bool:
        """Whether the body has come to its end."""

    def advance(self, data: bytes) -> int:
        """How many of these next bytes belong to the body; they are then counted as used."""


@dataclass(slots=True)
class Length:
    """A body of known length."""

    left: int

    @property
    def over(self) -> bool:
        """Whether all bytes have come."""
        return self.left == 0

    def advance(self, data: bytes) -> int:
        """As many as are left."""
        size = min(self.left, len(data))
        self.left -= size
        return size


@dataclass(slots=True)
class UntilClosed:
    """A body that ends with its connection."""

    over: bool = False

    def advance(self, data: bytes) -> int:
        """All of them."""
        return len(data)


@dataclass(slots=True)
class Chunked:
    """A body in chunks, its trailer included."""

    over: bool = False
    _left: int = 0
    _trailer: bool = False

    def advance(self, data: bytes) -> int:
        """Whole lines, and whatever there is of a chunk. Raises NotHttpError for a wrong size."""
        at = 0
        while not self.over:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if self._left:
                    break
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > _LINE_MOST_BYTES:
                    raise NotHttpError("a line without an end in a chunked body")
                break
            line, at = data[at:end], end + 2
            if self._trailer:
                self.over = not line
            else:
                self._begin(line)
        return at

    def _begin(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not _SIZE.fullmatch(digits):
            raise NotHttpError(f"{line[:20]!r} is no size of a chunk")
        size = int(digits, 16)
        self._left, self._trailer = (size + 2, False) if size else (0, True)


@dataclass(slots=True)
class Head:
    """A request's or an answer's head. `method` and `target` are the request's, `status` the answer's."""

    framing: Framing
    closes: bool
    fields: Mapping[str, str]
    method: str = ""
    target: str = ""
    status: int = 0

    def field(self, name: str) -> str:
        """The value of a field (its name in lower case), or ""."""
        return self.fields.get(name, "")


def read_request(head: bytes) -> Head:
    """A request's head. Raises NotHttpError."""
    seen = _Seen()
    parser = httptools.HttpRequestParser(seen)
    _feed(parser, head)
    framing: Framing = Length(0)
    if "chunked" in seen.fields.get("transfer-encoding", "").lower():
        framing = Chunked()
    elif "content-length" in seen.fields:
        framing = Length(int(seen.fields["content-length"]))
    method = parser.get_method().decode("latin-1")
    return Head(framing, _closes(parser.get_http_version(), seen), seen.fields, method=method, target=seen.target)


def read_answer(head: bytes, *, to: str) -> Head:
    """The head of an answer to a request of method `to`. Raises NotHttpError."""
    seen = _Seen()
    parser = httptools.HttpResponseParser(seen)
    _feed(parser, head)
    status = int(parser.get_status_code())
    framing: Framing = UntilClosed()
    if to == "HEAD" or status < 200 or status in (204, 304):
        framing = Length(0)
    elif "chunked" in seen.fields.get("transfer-encoding", "").lower():
        framing = Chunked()
    elif "content-length" in seen.fields:
        framing = Length(int(seen.fields["content-length"]))
    return Head(framing, _closes(parser.get_http_version(), seen), seen.fields, status=status)


@dataclass(slots=True)
class _Seen:
    """What the parser tells."""

    target: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def on_url(self, url: bytes) -> None:
        self.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.decode("latin-1").lower()] = value.decode("latin-1")


def _feed(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, head: bytes) -> None:
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # whether it comes to that, the answer says
    except httptools.HttpParserError as error:
        raise NotHttpError(str(error)) from error
    if parser.get_http_version() not in ("1.0", "1.1"):
        raise NotHttpError(f"HTTP/{parser.get_http_version()}")


def _closes(version: str, seen: _Seen) -> bool:
    words = [word.strip() for word in seen.fields.get("connection", "").lower().split(",")]
    return "close" in words or (version == "1.0" and "keep-alive" not in words)
