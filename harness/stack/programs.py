"""How the target's own programs are started: what the braces in its manifest stand for, and the environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.errors import StackError
from harness.faults.base import Edge
from harness.processes import Command
from harness.scenario.manifest import Audit, Target
from harness.scenario.manifest import Command as ResetCommand
from harness.stack.disks import Disks
from harness.stack.names import Names
from harness.stack.replica import Replica

# The target gives way to the load generator and the proxies: on few cores its work must not make arrivals late.
# Its capacity comes from its own limits, so it loses nothing by it.
NICE = 5
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class Addresses(Protocol):
    """What a program may be told about the stack that it is part of."""

    target: Target

    @property
    def servers(self) -> Mapping[str, str]:
        """`host:port` of each server by name."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges that have a proxy."""

    def memory(self, name: str) -> Path:
        """The file that tells a replica how much memory it holds."""

    def server_url(self, name: str, address: str = "") -> str:
        """How the target calls a server, login and database included; by way of the proxy at `address` if given."""


class Programs:
    """The commands of one stack; addresses are looked up when a command is made."""

    def __init__(
        self, stack: Addresses, environment: Mapping[str, str], *, names: Names, disks: Disks, logs: Path
    ) -> None:
        self._stack = stack
        self._names = names
        self._disks = disks
        self._logs = logs
        folder = str(stack.target.folder)
        self._environment = {**environment, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}

    def replica(self, replica: Replica) -> Command:
        """How a replica is started."""
        spec = self._stack.target.processes[replica.component]
        values = {
            **self._values(self._stack.target.region_of(replica.component)),
            "port": str(replica.port),
            "management_port": str(replica.management_port),
            "replica": str(replica.number),
            "memory": str(self._stack.memory(replica.name)),
        }
        if self._stack.target.disk_of(replica.component):
            values["disk"] = str(self._disks.folder(replica.name))
        fill = _filler(values)
        argv = self._names.command(replica.component, [fill(part) for part in spec.command])
        return self._command(replica.name, argv, spec.environment, fill, nice=NICE)

    def reset(self, reset: ResetCommand, region: str) -> Command:
        """How the data is brought to its first state, in one region where there are several."""
        fill = _filler(self._values(region))
        return self._command("reset", [fill(part) for part in reset.command], reset.environment, fill)

    def audit(self, audit: Audit, region: str) -> Command:
        """How acknowledged writes are looked up. Raises StackError when that needs something that is nowhere known."""
        # By addresses: the names that some edges have are known to the target's own processes only.
        values = self._values(region, lambda edge: edge.address)
        fill = _filler(values)
        try:
            return self._command("audit", [fill(part) for part in audit.command], audit.environment, fill)
        except KeyError as error:
            raise StackError(f"nobody has said where `{error.args[0]}` is") from error

    def _command(
        self, name: str, argv: Sequence[str], told: Mapping[str, str], fill: Callable[[str], str], nice: int = 0
    ) -> Command:
        return Command(
            name=name,
            argv=tuple(argv),
            log=str(self._logs / f"{name}.log"),
            cwd=str(self._stack.target.folder),
            environment={**self._environment, **{key: fill(value) for key, value in told.items()}},
            nice=nice,
        )

    def _values(self, region: str, address_of: Callable[[Edge], str] | None = None) -> dict[str, str]:
        """What braces stand for, whoever is started; in a region, its own servers and edges."""
        address_of = address_of or self._names.address

        def plain(name: str) -> str:
            return name.removesuffix(f"-{region}") if region else name

        values = {"python": sys.executable, "target": str(self._stack.target.folder)}
        for name, address in self._stack.servers.items():
            if self._stack.target.region_of(name) == region:
                values |= {plain(name): address, f"{plain(name)}.url": self._stack.server_url(name)}
        for edge in self._stack.edges:
            if self._stack.target.region_of(edge.destination) == region:
                called = f"{plain(edge.source)}->{plain(edge.destination)}"
                values[called] = address_of(edge)
                if edge.destination in self._stack.servers:
                    values[f"{called}.url"] = self._stack.server_url(edge.destination, address_of(edge))
        return values


def _filler(values: Mapping[str, str]) -> Callable[[str], str]:
    return lambda text: _PLACEHOLDER.sub(lambda match: values[match[1]], text)
