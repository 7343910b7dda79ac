"""What Locust's request event says about an attempt, in the record's words."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import IncompleteRead, RemoteDisconnected
from typing import NamedTuple

from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust.exception import CatchResponseError
from requests.exceptions import Timeout
from urllib3.exceptions import NewConnectionError, ProtocolError


class Outcome(NamedTuple):
    """How an attempt ended; an `Answer`."""

    end_ns: int
    status: int
    error: str
    nbytes: int


def error_word(status: int, exception: BaseException | None, otherwise: str = "protocol") -> str:
    """The record's error word for a response's status (0 without one) and the exception that was reported with it.

    `otherwise` is the word for an exception of an unknown kind when there was no response.
    """
    if exception is None:
        return ""
    if status >= 400:
        return "http_5xx" if status >= 500 else "http_4xx"
    causes = list(_causes(exception))
    if any(isinstance(cause, CatchResponseError) for cause in causes):
        return "check"
    if any(isinstance(cause, Timeout | TimeoutError) for cause in causes):
        return "timeout"
    if any(isinstance(cause, ConnectionRefusedError | NewConnectionError) for cause in causes):
        return "connect"
    resets = ConnectionError | RemoteDisconnected | HTTPConnectionClosed | IncompleteRead
    if any(isinstance(cause, resets) or _ended_early(cause) for cause in causes):
        return "reset"
    if any(isinstance(cause, HTTPParseError) for cause in causes):
        return "protocol"
    return "check" if status else otherwise


class AttemptTimeout(TimeoutError):
    """An attempt took longer than the scenario's client timeout: what Locust's clients get to see then."""


def _ended_early(cause: BaseException) -> bool:
    # Neither urllib3 nor geventhttpclient has an exception of its own for a body that ends in the middle.
    words = str(cause)
    return (isinstance(cause, ProtocolError) and "ended prematurely" in words) or (
        isinstance(cause, HTTPParseError) and "Incomplete response" in words
    )


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """The exception, and every other one it was made from, by cause, context or argument."""
    pending, seen = [exception], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        nested = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        kept = (*nested, getattr(current, "original", None))
        pending.extend(item for item in kept if isinstance(item, BaseException))
