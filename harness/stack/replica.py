"""One process of the target, with the ports that it was given."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of the target: `app-1`, or plain `auth` where there is just one."""

    name: str
    component: str
    number: int
    port: int
    management_port: int

    @property
    def address(self) -> str:
        """Where it serves requests, `host:port`."""
        return loopback(self.port)

    @property
    def management_address(self) -> str:
        """Where it answers `/metrics` and readiness even when every request thread is busy."""
        return loopback(self.management_port)


def loopback(port: int) -> str:
    """`host:port` on this machine."""
    return f"{LOOPBACK}:{port}"
