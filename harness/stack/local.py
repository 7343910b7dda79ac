"""The target on loopback: embedded servers, a proxy on every edge, replicas behind an L4 service, all real.

client -> proxy client-app -> service -> app-1, app-2 -> proxy app-postgres -> postgres
                                                      -> proxy app-redis    -> redis    ...

In several regions there is a proxy before each replica too, so that a region can be cut off from the service:
service -> proxy front-app-east-1 -> app-east-1 -> proxy app-east-postgres-east -> postgres-east ...
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.endpoints import Endpoints
from harness.errors import StackError
from harness.faults.base import Edge, Lookup, Standby, Undo
from harness.faults.sql import SUPERUSER
from harness.faults.undo import start_process
from harness.ledger import Ledger, ProcessMark
from harness.paths import RunFolder
from harness.ports import reserve_port
from harness.probes import probe, refused, split, wait_for
from harness.processes import Command, Processes, tail
from harness.proxy.client import ToxiproxyClient
from harness.redis_calls import primary
from harness.scenario.manifest import Target
from harness.stack import postgres, sentinel, valkey
from harness.stack.account import Account, unprivileged
from harness.stack.audit import Found, look_up
from harness.stack.disks import Disks
from harness.stack.names import Names
from harness.stack.programs import Programs
from harness.stack.proxies import Proxies
from harness.stack.replica import LOOPBACK, Replica, loopback
from harness.stack.sentinel import Watched
from harness.stack.standby import Pair

ENGINES = {"postgres": postgres, "redis": valkey}
URLS = {"postgres": f"postgresql://{postgres.ROLE}@{{}}/postgres", "redis": "redis://{}/0"}
"""What the target calls the servers that the harness boots."""
READY_TIMEOUT_S = 30.0
FOREIGN_TIMEOUT_S = 5.0
RESET_TIMEOUT_S = 30.0
SERVICE = "service"
CONTROL = "service-control"
PROXY = "toxiproxy"
CLIENT = "client"
FRONT = "front"


class LocalStack:
    """A target booted on loopback for one run. `up`, then `reset` before every arm, then `down`.

    Clients on other hosts reach it when `client_host` is an address of this one that they reach. The addresses of the
    edges in `named` are handed out to their callers as names.
    """

    def __init__(
        self,
        target: Target,
        environment: Mapping[str, str],
        *,
        processes: Processes,
        ledger: Ledger,
        folder: RunFolder,
        seed: int,
        client_host: str = LOOPBACK,
        named: Collection[str] = (),
    ) -> None:
        self.target = target
        self._processes = processes
        self._ledger = ledger
        self._logs = folder.logs
        self._seed = seed
        self._client_host = client_host
        self._account = unprivileged()
        self._work = _scratch_root(self._account) / f"harness-{processes.run_id}"
        self._servers: dict[str, Command] = {}
        self._standbys: dict[str, Pair] = {}
        parts = (*target.servers, *target.standbys.values(), PROXY, SERVICE, CONTROL)
        self._addresses = {name: loopback(reserve_port()) for name in parts}
        self._addresses |= {name: found.address for name in target.components if (found := target.location(name))}
        self._addresses[PROXY] = target.toxiproxy or self._addresses[PROXY]
        self.watched = tuple(
            sentinel.watched(name, server, self._addresses[name], lambda: loopback(reserve_port()))
            for name, server in target.servers.items()
            if server.sentinel and target.is_ours(name)
        )
        for group in self.watched:
            self._addresses.update(group.addresses)
        edges = {
            f"{source}->{destination}": self._plan_edge(source, destination) for source, destination in self._pairs()
        }
        self._proxies = Proxies(target, self.proxy_api, edges, self._upstream)
        self._disks = Disks(self._work, ledger)
        self._names = Names([edges[name] for name in named], self._work)
        self._programs = Programs(self, environment, names=self._names, disks=self._disks, logs=self._logs)
        self.replicas = tuple(self._plan_replicas())
        self._links = {replica.name: self._plan_links(replica) for replica in self.replicas if self._is_linked(replica)}
        self.endpoints = Endpoints(self._addresses[CONTROL], target.instances(target.entry))

    def up(self) -> None:
        """Boot the servers and the proxies. Raises StackError, naming the part and its last words."""
        self._ledger.folder(self._work)
        self._work.mkdir(mode=0o711)
        self._names.write()
        for name, server in self.target.servers.items():
            if not self.target.is_ours(name):
                continue
            port = split(self._addresses[name])[1]
            if server.disk:
                self._disks.make(name, server.disk, folder=name)
            command = ENGINES[server.engine].prepare(name, port, self._work, self._logs, self._account)
            if server.standby == "synchronous":
                command = postgres.synchronous(command)
            self._servers[name] = command
            self._processes.spawn(command)
        for group in self.watched:
            self._servers[group.replica] = sentinel.prepare_replica(group, self._work, self._logs, self._account)
            self._processes.spawn(self._servers[group.replica])
        for replica in self.replicas:
            if size := self.target.disk_of(replica.component):
                self._disks.make(replica.name, size)
        if not self.target.toxiproxy:
            self._processes.spawn(self._proxy_command())
        for name in self._servers:
            self._await(name, lambda name=name: self.is_ready(name))  # type: ignore[misc]
        for name in filter(self.target.location, self.target.components):
            self._find(name, self.address(name), lambda name=name: self.is_ready(name))  # type: ignore[misc]
        wait = partial(self._find, PROXY, self.proxy_api) if self.target.toxiproxy else partial(self._await, PROXY)
        wait(lambda: not refused(self.proxy_api))
        self._proxies.make(self._ledger, self._processes.run_id)
        for name, (serving, readiness) in self._links.items():
            api = ToxiproxyClient(*split(self.proxy_api))
            api.create(serving.proxy, serving.address, self.address(name))
            api.create(readiness.proxy, readiness.address, self.readiness(name))
        for name in self.target.standbys:
            self._plan_standby(name).start(self._processes, self._await)

    def reset(self) -> None:
        """Bring everything to the state in which every arm starts: fresh data, fresh processes, empty pools."""
        self._processes.kill(SERVICE, *(replica.name for replica in self.replicas))
        self._processes.excuse_nobody()
        for group in self.watched:
            self._regroup(group)
        for name, pair in self._standbys.items():
            standby = self.target.standbys[name]
            proxies = [edge.proxy for edge in self.edges if edge.destination == name and edge.source != standby]
            pair.reset(self._processes, self._await, ToxiproxyClient(*split(self.proxy_api)), proxies)
        self._run_reset()
        for pair in self._standbys.values():
            pair.settle(self._await)
        for replica in self.replicas:
            if self.target.disk_of(replica.component):
                self._disks.empty(replica.name)
            self._processes.spawn(self._programs.replica(replica))
        ours = self.target.is_ours(self.target.entry)
        if ours:
            self._processes.spawn(self._service_command(), stdin=subprocess.PIPE)
        for replica in self.replicas:
            self._await(replica.name, lambda name=replica.name: self.is_ready(name))  # type: ignore[misc]
        front = self.edge(f"{CLIENT}->{self.target.entry}")
        path = self.target.processes[self.target.entries[0]].ready
        wait = partial(self._await, SERVICE) if ours else partial(self._find, front.proxy, front.address)
        wait(lambda: probe("http", front.address, path=path).ok)
        for name in self._links:
            self._await(SERVICE, lambda name=name: self.endpoints.serves(name))  # type: ignore[misc]
        for group in self.watched:
            self._await(group.replica, lambda group=group: sentinel.is_settled(group))  # type: ignore[misc]

    def audit(self, names: Sequence[str]) -> Found:
        """Look up writes that clients were told are stored. Raises StackError when the target's program can't."""
        audit = self.target.audit
        if audit is None:
            raise StackError(f"{self.target.name} has no audit command")
        commands = [self._programs.audit(audit, region) for region in self.target.regions or ("",)]
        return look_up(names, commands, self._processes)

    def down(self) -> None:
        """End every process, remove every file outside the results, and whatever was put on servers of others."""
        self._proxies.remove(self._ledger, self._processes)
        # An interrupted initdb leaves a process that still writes there.
        self._processes.stop_all(self._work)
        self._disks.remove(self._processes)
        shutil.rmtree(self._work, ignore_errors=True)

    def check(self) -> None:
        """Raise StackError when a part has died that nobody killed on purpose."""
        ours = {PROXY, SERVICE, *self._servers, *(replica.name for replica in self.replicas)}
        ours.update(*(group.members for group in self.watched))
        for name in ours.intersection(self._processes.dead()):
            raise StackError(
                f"{name} died while the run was on\n{tail(self._log(name))}", remedy=f"see {self._log(name)}"
            )

    @property
    def url(self) -> str:
        """What clients talk to: `http://host:port` of the proxy before the service."""
        address = self.edge(f"{CLIENT}->{self.target.entry}").address
        location = self.target.location(self.target.entry)
        return location.at(address).rstrip("/") if location else f"http://{address}"

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self._seed

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All dependency edges, the clients' included."""
        return tuple(self._proxies.edges.values())

    @property
    def proxy_api(self) -> str:
        """`host:port` of the Toxiproxy API."""
        return self._addresses[PROXY]

    @property
    def servers(self) -> Mapping[str, str]:
        """`host:port` of each server by name: those that were booted, and those of which one knows where they are."""
        known = (name for name in self.target.servers if self.target.is_ours(name) or self.target.location(name))
        return {name: self._addresses[name] for name in known}

    def server_url(self, name: str, address: str = "") -> str:
        """How the target calls a server, login and database included; by way of the proxy at `address` if given."""
        location = self.target.location(name)
        if location is not None:
            return location.at(address or location.address)
        return URLS[self.target.servers[name].engine].format(address or self._addresses[name])

    def watch_url(self, name: str) -> str:
        """How the harness looks at a server: its own ones as the superuser, who gets in when nobody else does."""
        if name in self.standbys:
            return f"postgresql://{SUPERUSER}@{self._addresses[name]}/postgres"
        url = self.server_url(name)
        return url.replace(f"{postgres.ROLE}@", f"{SUPERUSER}@") if self.target.is_ours(name) else url

    @property
    def standbys(self) -> Mapping[str, str]:
        """`host:port` of each standby by name."""
        return {name: self._addresses[name] for name in self.target.standbys.values()}

    def standby(self, component: str) -> Standby:
        """The standby of a database server. Raises KeyError when it has none."""
        return self._standbys[component].as_faults_see_it()

    def edge(self, name: str) -> Edge:
        """The edge `source->destination`. Raises StackError when it has no proxy."""
        return self._proxies.edge(name)

    def links(self, name: str) -> tuple[Edge, ...]:
        """The way from the front to a replica in a region: what clients send, and the readiness probe."""
        return self._links[name]

    def disk(self, name: str) -> Path:
        """The folder of a process that has a disk of its own: a server's data, what a replica was told as {disk}."""
        return self._disks.folder(name)

    @property
    def scratch(self) -> Path:
        """A folder outside the results that goes when the run ends."""
        return self._work

    def memory(self, name: str) -> Path:
        """The file in which a replica may read how many bytes it holds, as long as somebody writes that there."""
        return self._work / f"{name}.memory"

    def upstream(self, edge: str) -> str:
        """`host:port` that the edge's proxy leads to as long as no fault has led it elsewhere."""
        name = edge.partition("->")[2]
        chosen = primary(name, sentinels) if (sentinels := self.sentinels(name)) else ""
        return chosen or self._proxies.upstream(edge)

    def lookup(self, edge: str) -> Lookup:
        """How an edge is found whose address is handed out as a name. Raises StackError for any other."""
        lookup = self._names.lookup(self.edge(edge))
        if lookup is None:
            raise StackError(f"{edge} is not called by a name in this run")
        return lookup

    def instances(self, component: str) -> tuple[str, ...]:
        """Names of a component's processes."""
        return self.target.instances(component)

    def address(self, name: str) -> str:
        """`host:port` of a server, a replica, or the first replica of a component, not through a proxy."""
        if name in self._addresses:
            return self._addresses[name]
        return next(replica.address for replica in self.replicas if name in (replica.name, replica.component))

    def protocol(self, component: str) -> str:
        """`postgres`, `redis` or `http`."""
        return self.target.component_protocol(component)

    def sentinels(self, component: str) -> tuple[str, ...]:
        """`host:port` of the sentinels that watch over a server; none over most."""
        return next((group.sentinel_addresses for group in self.watched if group.name == component), ())

    def readiness(self, name: str) -> str:
        """`host:port` at which a server or replica answers its readiness probe."""
        return self._readiness(name)[1]

    def is_ready(self, name: str) -> bool:
        """Whether a server or replica answers its readiness probe now."""
        protocol, address, path = self._readiness(name)
        return probe(protocol, address, path=path).ok

    def mark(self, name: str) -> ProcessMark:
        """The running process of a server or replica. Raises StackError when there is none."""
        return self._processes.mark(name)

    def command(self, name: str, settings: Mapping[str, str] | None = None) -> Command:
        """How a server or replica is started; a replica perhaps with other values for some settings."""
        if name in self._servers:
            return self._servers[name]
        command = self._programs.replica(self._replica(name))
        return replace(command, environment={**command.environment, **self.target.variables(settings or {})})

    def start_undo(self, name: str, *, afresh: bool = False) -> Undo:
        """The undo that starts a server or replica as it was, unless it answers; `afresh`: end what runs first."""
        protocol, address, path = self._readiness(name)
        return start_process(self.command(name), protocol, address, path=path, afresh=afresh)

    def may_die(self, name: str) -> None:
        """A process is about to end by a fault, or may: that is no failure of the stack."""
        self._processes.excuse(name)

    def kill(self, name: str) -> None:
        """End a server or replica at once, as a crash does."""
        self._processes.kill(name)

    def terminate(self, name: str) -> None:
        """Ask a server or replica to end (its stop signal) and return at once; that is no failure of the stack."""
        self._processes.terminate(name)

    def spawn(self, command: Command) -> None:
        """Start a process of a fault's own; it belongs to the run and ends with it."""
        self._processes.spawn(command)

    def _replica(self, name: str) -> Replica:
        return next(replica for replica in self.replicas if replica.name == name)

    def _readiness(self, name: str) -> tuple[str, str, str]:
        """(protocol, address, path) of the probe that tells whether a process can serve."""
        if name in self._servers or name in self.target.servers:
            belongs_to = {group.replica: group.name for group in self.watched}
            belongs_to |= {standby: server for server, standby in self.target.standbys.items()}
            return self.protocol(belongs_to.get(name, name)), self._addresses[name], ""
        component = self.target.processes[self.target.component_of(name)]
        if component.url is not None:
            return "http", component.url.address, component.ready
        replica = self._replica(name)
        spec = self.target.processes[replica.component]
        return "http", replica.management_address if spec.management else replica.address, spec.ready

    def _regroup(self, group: Watched) -> None:
        """Start a watched server and all its company anew: it is the primary again, and nobody remembers anything."""
        self._processes.kill(*reversed(group.members), group.name)
        proxies = [edge.proxy for edge in self.edges if edge.destination == group.name]
        for proxy in proxies:
            ToxiproxyClient(*split(self.proxy_api)).set_upstream(proxy, self._addresses[group.name])
        for name in (group.name, group.replica):
            self._processes.spawn(self._servers[name])
        for name in (group.name, group.replica):
            self._await(name, lambda name=name: self.is_ready(name))  # type: ignore[misc]
        for command in sentinel.prepare_sentinels(group, self._work, self._logs):
            self._processes.spawn(command)
        follower = sentinel.prepare_follower(group, self.proxy_api, proxies, self._work, self._logs)
        self._processes.spawn(follower, stdin=subprocess.PIPE)

    def _pairs(self) -> Iterable[tuple[str, str]]:
        return self.target.all_edges

    def _plan_edge(self, source: str, destination: str) -> Edge:
        protocol = self.target.component_protocol(destination)
        host = self._client_host if source == CLIENT else LOOPBACK
        return Edge(source, destination, f"{source}-{destination}", f"{host}:{reserve_port(host)}", protocol)

    def _plan_replicas(self) -> Iterable[Replica]:
        for component in filter(self.target.is_ours, self.target.processes):
            for number, name in enumerate(self.target.instances(component), start=1):
                yield Replica(name, component, number, reserve_port(), reserve_port())

    def _is_linked(self, replica: Replica) -> bool:
        return bool(self.target.regions) and replica.component in self.target.entries

    def _plan_links(self, replica: Replica) -> tuple[Edge, Edge]:
        serving, readiness = (
            Edge(FRONT, replica.name, f"{FRONT}-{replica.name}{suffix}", loopback(reserve_port()), "http")
            for suffix in ("", "-ready")
        )
        return serving, readiness

    def _upstream(self, component: str) -> str:
        served = component == self.target.entry and self.target.is_ours(component)
        return self._addresses[SERVICE] if served else self.address(component)

    def _plan_standby(self, name: str) -> Pair:
        standby = self.target.standbys[name]
        pair = Pair.plan(
            self._servers[name],
            self._addresses[name],
            standby,
            self._addresses[standby],
            self.edge(f"{standby}->{name}").address,
            self._logs,
            self._account,
        )
        self._standbys[name], self._servers[standby] = pair, pair.standby
        return pair

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _await(self, name: str, condition: Callable[[], bool]) -> None:
        met = False

        def settled() -> bool:
            nonlocal met
            met = condition()
            return met or not self._processes.alive(name)

        wait_for(settled, timeout_s=READY_TIMEOUT_S)
        if met:
            return
        how = "did not become ready" if self._processes.alive(name) else "ended at once"
        raise StackError(f"{name} {how}; its last words:\n{tail(self._log(name))}", remedy=f"see {self._log(name)}")

    def _find(self, name: str, address: str, condition: Callable[[], bool]) -> None:
        """`_await` for what the harness does not start."""
        if not wait_for(condition, timeout_s=FOREIGN_TIMEOUT_S):
            raise StackError(
                f"{name} should run already, but does not answer at {address}",
                remedy="start it, or correct the address",
            )

    def _proxy_command(self) -> Command:
        """It outlives a killed conductor, as servers do: a process that the guard starts again has to reach them."""
        host, port = split(self.proxy_api)
        server = shutil.which("toxiproxy-server")
        argv = (
            (server, "-host", host, "-port", str(port), "-proxy-metrics")
            if server
            else (sys.executable, "-m", "harness.proxy", "--host", host, "--port", str(port))
        )
        return Command(PROXY, argv, log=str(self._log(PROXY)))

    def _service_command(self) -> Command:
        backends = [self._backend(replica) for replica in self.replicas if replica.name in self.endpoints.names]
        path = self._work / "service.json"
        spec = {
            "listen": self._addresses[SERVICE],
            "control": self._addresses[CONTROL],
            "seed": self._seed,
            "backends": backends,
        }
        path.write_text(json.dumps(spec))
        return Command(SERVICE, (sys.executable, "-m", "harness.stack.service", str(path)), log=str(self._log(SERVICE)))

    def _backend(self, replica: Replica) -> dict[str, str]:
        """A replica as the service knows it."""
        _, ready, path = self._readiness(replica.name)
        address = replica.address
        if replica.name in self._links:
            address, ready = (link.address for link in self._links[replica.name])
        zone = self.target.region_of(replica.component)
        return {"name": replica.name, "address": address, "ready": ready, "path": path, "zone": zone}

    def _run_reset(self) -> None:
        if self.target.reset is None or not self.target.resets:
            return
        for region in self.target.regions or ("",):
            command = self._programs.reset(self.target.reset, region)
            process = self._processes.spawn(command)
            try:
                code = process.wait(RESET_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                code = None
            self._processes.kill(command.name)
            if code != 0:
                said = tail(self._log(command.name))
                raise StackError(f"the target's reset command failed:\n{said}", remedy=f"see {command.log}")


def _scratch_root(account: Account) -> Path:
    """A folder for scratch data that the servers' account can enter."""
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(candidate)
        if path.is_dir() and os.access(path, os.W_OK) and account.can_reach(path):
            return path
    raise StackError("no temporary folder that PostgreSQL's account can enter", remedy="set TMPDIR to one, e.g. /tmp")
