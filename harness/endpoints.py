"""The control port of the L4 service (`harness.stack.service`): which replicas new connections may go to.

    GET /endpoints                  {"app-1": {"admitted": true, "ready": true, "zone": ""}, ...}
    POST /endpoints/app-1/withdraw  no new connections; those that are open stay
    POST /endpoints/app-1/admit     back, as soon as it is ready

Every answer is the list after the change, so that nothing is in doubt.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.errors import StackError
from harness.probes import split

TIMEOUT_S = 2.0
Change = Literal["admit", "withdraw"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A replica behind the service. `admitted`: it may get new connections; it does when it is `ready` as well."""

    admitted: bool
    ready: bool
    zone: str = ""


class Endpoints:
    """The endpoints of the service whose control port is `control` (`host:port`); methods raise StackError."""

    def __init__(self, control: str, names: Collection[str]) -> None:
        self.control = control
        self.names = names

    def withdraw(self, name: str) -> None:
        """Let no new connections go to an endpoint; those it has stay."""
        change_endpoint(self.control, name, "withdraw")

    def admit(self, name: str) -> None:
        """Let connections go to an endpoint again, as soon as it is ready."""
        change_endpoint(self.control, name, "admit")

    def serves(self, name: str) -> bool:
        """Whether new connections go to an endpoint now."""
        endpoint = self.states()[name]
        return endpoint.admitted and endpoint.ready

    def states(self) -> Mapping[str, Endpoint]:
        """All endpoints by name."""
        return _ask(self.control, "GET", "/endpoints")


def change_endpoint(control: str, name: str, change: Change) -> Mapping[str, Endpoint]:
    """Take an endpoint out or put it back; doing it twice is the same. Raises StackError."""
    return _ask(control, "POST", change_path(name, change))


def change_path(name: str, change: Change) -> str:
    """The path that makes a change, for `curl -X POST`."""
    return f"/endpoints/{name}/{change}"


def _ask(control: str, method: str, path: str) -> Mapping[str, Endpoint]:
    host, port = split(control)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise StackError(f"the service does not answer on its control port {control}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise StackError(f"the service refused {method} {path}: {body.decode(errors='replace').strip()}")
    return {name: Endpoint(**one) for name, one in json.loads(body).items()}
