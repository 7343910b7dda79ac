"""HTTP messages of a virtual user: the request as bytes, and the response it gets to see."""

from __future__ import annotations

import json as jsonlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import quote, urlencode

from harness.load.connection import header_fields

_PLAIN_PATH: Final = re.compile(r"/[!-~]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class Requests:
    """Composes requests to one host: `authority` is the value of the Host header.

    `get(path)` is `compose("GET", path)`, which is worked out once for each path, as far as they are remembered.
    """

    __slots__ = ("_common", "get")

    def __init__(self, authority: str) -> None:
        self._common = (
            f" HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: harness\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
        )
        self.get: Callable[[str], bytes] = lru_cache(maxsize=1024)(partial(self._bodiless, "GET"))

    def compose(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: Mapping[str, Any] | str | bytes | None = None,
    ) -> bytes:
        """The bytes of a request; `json` is sent as JSON, a mapping in `data` as a form, text and bytes as they are.

        Raises `ValueError` when the path does not start with `/`, or a method or header cannot be sent.
        """
        if headers is None and json is None and data is None and method in ("GET", "HEAD", "DELETE"):
            return self._bodiless(method, path)
        body, content_type = _body_of(json, data)
        lines = [f"{method} {_sendable(path)}{self._common}Content-Length: {len(body)}\r\n"]
        if not _TOKEN.fullmatch(method):
            raise ValueError(f"{method!r} is not an HTTP method")
        given = {name.lower() for name in headers} if headers else set()
        if content_type and "content-type" not in given:
            lines.append(f"Content-Type: {content_type}\r\n")
        for name, value in (headers or {}).items():
            if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r}: {value!r} cannot be sent")
            lines.append(f"{name}: {value}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1") + body

    def _bodiless(self, method: str, path: str) -> bytes:
        return f"{method} {_sendable(path)}{self._common}\r\n".encode("latin-1")


class Headers(Mapping[str, str]):
    """Response headers; names in any case, repeated ones joined by `, `."""

    __slots__ = ("_fields",)

    def __init__(self, head: bytes) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in header_fields(head):
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            self._fields[name] = f"{self._fields[name]}, {value}" if name in self._fields else value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Response:
    """What an attempt brought: `status` (0 without a response), `headers`, `body`, and `error`.

    `error` is "" or the record's error word: `timeout`, `connect`, `reset` (closed before the response was
    complete), `protocol` (not HTTP), `http_4xx`, `http_5xx`, or `check` after `fail`. `detail` says more about it.
    Times are in ns on the session's clock; `nbytes` is the length of the body as it came.
    """

    __slots__ = ("_content", "_head", "_headers", "_raw", "detail", "end_ns", "error", "nbytes", "start_ns", "status")

    def __init__(
        self, start_ns: int, end_ns: int, status: int, error: str, detail: str = "", head: bytes = b"", raw: bytes = b""
    ) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.status = status
        self.error = error
        self.detail = detail
        self.nbytes = len(raw)
        self._head = head
        self._raw = raw
        self._headers: Headers | None = None
        self._content: bytes | None = None

    def fail(self, reason: str) -> None:
        """Count this response as wrong: its row gets the error `check`, unless the attempt had failed anyway."""
        if not self.error:
            self.error = "check"
            self.detail = reason

    @property
    def ok(self) -> bool:
        """Whether there is a response with a status below 400, and nobody has failed it."""
        return not self.error

    @property
    def headers(self) -> Headers:
        """The response headers; empty without a response."""
        if self._headers is None:
            self._headers = Headers(self._head)
        return self._headers

    @property
    def body(self) -> bytes:
        """The body, decoded when it is compressed (gzip or deflate). Raises `ValueError` when it doesn't decode."""
        if self._content is None:
            coding = self.headers.get("content-encoding", "").lower() if self._raw else ""
            self._content = _decompressed(self._raw) if coding in ("gzip", "x-gzip", "deflate") else self._raw
        return self._content

    @property
    def text(self) -> str:
        """The body as text (UTF-8, or the charset it declares). Raises `ValueError` when it doesn't decode."""
        charset = re.search(r"charset=\"?([\w.:-]+)", self.headers.get("content-type", ""))
        try:
            return self.body.decode(charset[1] if charset else "utf-8")
        except LookupError as error:
            raise ValueError(f"the body has an unknown charset: {error}") from error

    def json(self) -> Any:
        """The body read as JSON. Raises `ValueError` when it isn't."""
        return jsonlib.loads(self.body)


def _sendable(path: str) -> str:
    if _PLAIN_PATH.fullmatch(path):
        return path
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} must start with `/`: the host comes from the scenario's target")
    return quote(path, safe="/?&=%#:;,+!$'()*@~[]").partition("#")[0]


def _body_of(json: object, data: Mapping[str, Any] | str | bytes | None) -> tuple[bytes, str]:
    if json is not None:
        if data is not None:
            raise ValueError("a request has either `json` or `data`, not both")
        return jsonlib.dumps(json, separators=(",", ":")).encode(), "application/json"
    if data is None:
        return b"", ""
    if isinstance(data, bytes):
        return data, ""
    if isinstance(data, str):
        return data.encode(), ""
    return urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded"


def _decompressed(raw: bytes) -> bytes:
    try:
        return zlib.decompress(raw, _GZIP_OR_ZLIB)
    except zlib.error as error:
        raise ValueError(f"the compressed body is damaged: {error}") from error
