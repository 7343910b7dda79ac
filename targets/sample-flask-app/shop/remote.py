"""HTTP services that the shop calls: auth and payments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from shop.dependency import Dependency


class Refused(Exception):
    """The service answered that it can't: a status of 500 or above, or 429."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A service's answer: HTTP status below 500 and the JSON body."""

    status: int
    body: Any


FAILURES = (Refused, urllib3.exceptions.HTTPError, ValueError)


class Remote:
    """One service at `url`. `timeout_s` bounds connecting and each wait for bytes; `connections` stay open at most.

    urllib3's own retries are off: they would be calls that nobody counts.
    """

    def __init__(self, url: str, *, timeout_s: float, connections: int, dependency: Dependency) -> None:
        self._pool = urllib3.connection_from_url(
            url, maxsize=connections, timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s), retries=False
        )
        self._dependency = dependency

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """GET. Raises Unavailable."""
        return self._dependency.call(lambda: self._request("GET", path, headers, None))

    def post(self, path: str, headers: Mapping[str, str], body: object) -> Answer:
        """POST a JSON body. Must be safe to repeat: it is, after a failure. Raises Unavailable."""
        data = json.dumps(body).encode()
        return self._dependency.call(
            lambda: self._request("POST", path, {**headers, "Content-Type": "application/json"}, data)
        )

    def _request(self, method: str, path: str, headers: Mapping[str, str], data: bytes | None) -> Answer:
        response = self._pool.urlopen(method, path, body=data, headers=headers, redirect=False)
        if response.status >= 500 or response.status == 429:
            raise Refused(f"status {response.status}")
        return Answer(response.status, json.loads(response.data))
