"""An embedded PostgreSQL with a standby that streams from it, over an edge with a proxy of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.faults.base import Standby
from harness.faults.replication import copy_data, has_all_of, is_followed, is_standby, takes_writes
from harness.probes import split
from harness.processes import Command, Processes
from harness.proxy.client import ToxiproxyClient
from harness.stack import postgres
from harness.stack.account import Account

Await = Callable[[str, Callable[[], bool]], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """A server and its standby: how each is started, where each answers, where the standby finds the server."""

    server: Command
    address: str
    standby: Command
    standby_address: str
    edge_address: str

    @classmethod
    def plan(
        cls,
        server: Command,
        address: str,
        name: str,
        standby_address: str,
        edge_address: str,
        logs: Path,
        account: Account,
    ) -> Pair:
        """The pair of a server that is prepared, and of a standby called `name` with an empty data folder."""
        standby = postgres.prepare_standby(server, name, split(standby_address)[1], logs, account)
        return cls(server, address, standby, standby_address, edge_address)

    def as_faults_see_it(self) -> Standby:
        """The standby's name, and how the server is made to follow it."""
        return Standby(self.standby.name, postgres.copy_command(self.server, self.standby_address))

    def start(self, processes: Processes, until: Await) -> None:
        """Start the standby as a fresh copy of its server, which has to run; `until` waits for a condition."""
        copy_data(postgres.copy_command(self.standby, self.edge_address), processes)
        processes.spawn(self.standby)
        until(self.standby.name, lambda: is_followed(self.address))

    def reset(self, processes: Processes, until: Await, api: ToxiproxyClient, proxies: Sequence[str]) -> None:
        """Bring the original layout back if it is not there: the standby follows the server, clients use the server."""
        if is_followed(self.address) and is_standby(self.standby_address):
            return
        processes.stop(self.server.name, self.standby.name)
        postgres.make_primary(self.server)
        processes.spawn(self.server)
        until(self.server.name, lambda: takes_writes(self.address))
        for proxy in proxies:
            api.set_upstream(proxy, self.address)
        self.start(processes, until)

    def settle(self, until: Await) -> None:
        """Return when the standby has all that its server has."""
        until(self.standby.name, lambda: has_all_of(self.standby_address, self.address))
