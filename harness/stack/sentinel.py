"""A Redis server with a replica and three sentinels, and what lets clients follow them to another primary.

Clients reach Redis through the proxies of their edges. The process `harness.stack.follower` asks the sentinels, and
leads these proxies to whichever server most of them have for the primary, as a client that knows Sentinel would do for
itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redis.exceptions import RedisError

from harness.probes import split
from harness.processes import Command
from harness.redis_calls import connect, replica_of
from harness.scenario.manifest import Server
from harness.stack import valkey
from harness.stack.account import Account

QUORUM = 2
SENTINELS = 3
FAILOVER_TIMEOUT_S = 3.0
"""How long a sentinel gives an election; after twice that another one tries."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A server and who belongs to it, by name: `replica`, `sentinels`, `follower`; `addresses` has all but the last."""

    name: str
    down_after_s: float
    addresses: dict[str, str]

    @property
    def replica(self) -> str:
        """The second server's name."""
        return f"{self.name}-replica"

    @property
    def sentinels(self) -> tuple[str, ...]:
        """The sentinels' names."""
        return tuple(f"{self.name}-sentinel-{number}" for number in range(1, SENTINELS + 1))

    @property
    def follower(self) -> str:
        """The name of the process that leads the proxies to the primary."""
        return f"{self.name}-follower"

    @property
    def sentinel_addresses(self) -> tuple[str, ...]:
        """`host:port` of each sentinel."""
        return tuple(self.addresses[name] for name in self.sentinels)

    @property
    def members(self) -> tuple[str, ...]:
        """All processes besides the server itself."""
        return (self.replica, *self.sentinels, self.follower)


def watched(name: str, server: Server, address: str, free_address: Callable[[], str]) -> Watched:
    """The group around a server at `address`; it asks for an address per further member."""
    group = Watched(name, server.down_after, {name: address})
    group.addresses.update({member: free_address() for member in (group.replica, *group.sentinels)})
    return group


def prepare_replica(group: Watched, folder: Path, logs: Path, account: Account) -> Command:
    """Make the replica's folder; returns the command that starts it."""
    command = valkey.prepare(group.replica, split(group.addresses[group.replica])[1], folder, logs, account)
    return replace(command, argv=(*command.argv, *replica_of(group.addresses[group.name])))


def prepare_sentinels(group: Watched, folder: Path, logs: Path) -> list[Command]:
    """Write the sentinels' files as if they had met before, for they rewrite them; returns how each is started."""
    return [_prepare_sentinel(group, name, folder, logs) for name in group.sentinels]


def _prepare_sentinel(group: Watched, name: str, folder: Path, logs: Path) -> Command:
    data = folder / name
    data.mkdir(exist_ok=True)
    master, (host, port) = group.name, split(group.addresses[name])
    lines = [
        f"bind {host}",
        f"port {port}",
        f"dir {data}",
        "set-proc-title no",
        f"sentinel myid {_id(name)}",
        f"sentinel monitor {master} {_pair(group.addresses[master])} {QUORUM}",
        f"sentinel down-after-milliseconds {master} {round(group.down_after_s * 1000)}",
        f"sentinel failover-timeout {master} {round(FAILOVER_TIMEOUT_S * 1000)}",
        f"sentinel known-replica {master} {_pair(group.addresses[group.replica])}",
    ]
    lines += [
        f"sentinel known-sentinel {master} {_pair(group.addresses[other])} {_id(other)}"
        for other in group.sentinels
        if other != name
    ]
    file = data / "sentinel.conf"
    file.write_text("\n".join(lines) + "\n")
    return Command(name, (str(valkey.binary()), str(file), "--sentinel"), log=str(logs / f"{name}.log"), cwd=str(data))


def prepare_follower(group: Watched, api: str, proxies: Iterable[str], folder: Path, logs: Path) -> Command:
    """Write the follower's orders; returns how it is started (with a pipe as its standard input)."""
    file = folder / f"{group.follower}.json"
    orders = {"name": group.name, "sentinels": group.sentinel_addresses, "api": api, "proxies": list(proxies)}
    file.write_text(json.dumps(orders))
    argv = (sys.executable, "-m", "harness.stack.follower", str(file))
    return Command(group.follower, argv, log=str(logs / f"{group.follower}.log"))


def is_settled(group: Watched) -> bool:
    """Whether every sentinel sees the others and a replica that could be promoted."""
    return all(_sees_all(group.name, address) for address in group.sentinel_addresses)


def _sees_all(name: str, address: str) -> bool:
    try:
        with connect(address) as sentinel:
            sentinel.execute_command("SENTINEL", "CKQUORUM", name)
            replicas: Sequence[dict[str, object]] = sentinel.sentinel_slaves(name)
    except RedisError:
        return False
    return [one["master-link-status"] for one in replicas] == ["ok"]


def _pair(address: str) -> str:
    host, port = split(address)
    return f"{host} {port}"


def _id(name: str) -> str:
    """What a sentinel calls itself to the others: 40 hexadecimal digits."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
