"""A small HTTP/1.1 server for the API: keep-alive, bodies of bounded size, one request of a connection at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TypeAlias, cast
from urllib.parse import unquote

import httptools

MAX_REQUEST_BYTES = 8 * 1024 * 1024
MAX_PIPELINED = 64
LINGER_S = 1.0
"""How long what a refused client still sends is read and thrown away: closed with that unread, its connection would be
reset, and it might never see the answer (RFC 9112, 9.6)."""
PLAIN = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded and without the query, which is kept in `query`; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` besides Date and Content-Length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def plain_error(text: str, status: int) -> Response:
    """A text answer that browsers are told not to take for anything else."""
    return Response(status, f"{text}\n".encode(), {"Content-Type": PLAIN, "X-Content-Type-Options": "nosniff"})


class HttpConnection(asyncio.Protocol):
    """One client of the API. The callbacks named `on_*` are httptools'."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._received = 0
        self._refused = False
        self._start_message()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client is gone; a request that is being handled is finished all the same."""
        self._requests.clear()
        self._refused = True

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refused:
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "400 Bad Request")
        except httptools.HttpParserError:
            self._refuse(400, "400 Bad Request")
        if self._received > MAX_REQUEST_BYTES:
            self._refuse(413, "413 Request Entity Too Large")

    def on_message_begin(self) -> None:
        """A request starts."""
        self._start_message()

    def on_url(self, url: bytes) -> None:
        """The request's target, possibly in parts."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The body follows, if there is one: say so to a client that asks first."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is complete: answer it when those before it are."""
        path, _, query = self._url.decode("latin-1").partition("?")
        self._requests.append(
            Request(
                method=self._parser.get_method().decode("latin-1"),
                path=unquote(path),
                query=query,
                headers=self._headers,
                body=b"".join(self._body),
                keep_alive=self._parser.should_keep_alive(),
            )
        )
        self._received = 0
        if len(self._requests) > MAX_PIPELINED:
            self._refuse(429, "429 Too Many Requests")
        elif self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._answer())

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    async def _answer(self) -> None:
        while self._requests:
            request = self._requests.popleft()
            try:
                response = await self._handler(request)
            except Exception:  # noqa: BLE001 - a bug in one handler must reach its client, and not stop the server
                _log.exception("%s %s failed", request.method, request.path)
                response = plain_error("500 Internal Server Error", 500)
            if self._transport.is_closing():
                return
            self._transport.write(_encode(response, request.keep_alive))
            if not request.keep_alive:
                self._transport.close()
                return

    def _refuse(self, status: int, text: str) -> None:
        if not self._refused:
            self._refused = True
            self._requests.clear()
            self._transport.write(_encode(Response(status, text.encode(), {"Content-Type": PLAIN}), keep_alive=False))
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)


def _encode(response: Response, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines.append(f"Date: {formatdate(usegmt=True)}")
    if response.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(response.body)}")
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + response.body
