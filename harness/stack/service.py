"""An L4 service: what a Kubernetes Service does with connections, in a process of its own.

    python -m harness.stack.service SPEC.json

Every new connection goes to one ready backend, drawn at random (as kube-proxy in iptables mode does) from a seeded
generator, and stays there until either side closes it. Readiness is an HTTP GET per backend and second; a backend
leaves the draw after three failures in a row and comes back with the first success; connections it already has are
left alone. With no ready backend a new connection is reset. The control port (see `harness.endpoints`) takes a backend
out at once and puts it back, as removing an endpoint through the Kubernetes API does; its connections are left alone
then, too. SPEC: `{"listen": "host:port", "control": "host:port", "seed": int, "backends": [{"name", "address":
"host:port", "ready": "host:port", "path": "/readyz", "zone": ""}]}`; `zone` groups backends and may be left out.
Standard output has one JSON line per change, and the process ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import uvloop

from harness.endpoints import Change, Endpoint
from harness.probes import get, split

PERIOD_S = 1.0
TIMEOUT_S = 1.0
FAILURES = 3
DIAL_TIMEOUT_S = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Backend:
    """One replica behind the service."""

    name: str
    address: tuple[str, int]
    ready_at: tuple[str, int]
    path: str
    zone: str = ""
    admitted: bool = True
    ready: bool = False
    failures: int = 0


@dataclass(slots=True)
class Service:
    """The endpoints of a service and the draw among those that are ready."""

    backends: list[Backend]
    draw: random.Random
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def pick(self) -> Backend | None:
        """A ready backend, or None."""
        ready = [backend for backend in self.backends if backend.admitted and backend.ready]
        return self.draw.choice(ready) if ready else None

    def change(self, name: str, change: str) -> bool:
        """`admit` or `withdraw` a backend; False when there is no such backend or change."""
        backend = next((one for one in self.backends if one.name == name), None)
        if backend is None or change not in get_args(Change):
            return False
        admitted = change == "admit"
        if admitted != backend.admitted:
            # What it was before it went says nothing about the process that may be there now.
            backend.admitted, backend.ready = admitted, False
            _say(backend=name, admitted=admitted)
        return True

    def listing(self) -> dict[str, dict[str, Any]]:
        """All endpoints as the control port tells them."""
        return {one.name: asdict(Endpoint(one.admitted, one.ready, one.zone)) for one in self.backends}

    async def watch(self, backend: Backend) -> None:
        """Probe one backend for ever."""
        while True:
            admitted = backend.admitted
            ok = await _answers(backend)
            backend.failures = 0 if ok else backend.failures + 1
            # An answer from before the backend came or went is no answer for now.
            ready = admitted and backend.admitted and (ok or (backend.ready and backend.failures < FAILURES))
            if ready != backend.ready:
                backend.ready = ready
                _say(backend=backend.name, ready=ready)
            await asyncio.sleep(PERIOD_S if backend.ready else 0.1)

    async def dial(self, front: Front) -> None:
        """Connect a new client to a backend, or reset it."""
        backend = self.pick()
        if backend is None:
            front.reset()
            return
        try:
            connect = asyncio.get_running_loop().create_connection(lambda: Back(front), *backend.address)
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await connect
        except OSError:
            front.reset()


class Front(asyncio.Protocol):
    """The client's side of a relayed connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._early = bytearray()
        self.transport: asyncio.Transport | None = None
        self.back: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected: dial a backend."""
        self.transport = cast(asyncio.Transport, transport)
        task = asyncio.ensure_future(self._service.dial(self))
        self._service.tasks.add(task)
        task.add_done_callback(self._service.tasks.discard)

    def connected(self, back: asyncio.Transport) -> None:
        """The backend has accepted: pass on what has come meanwhile."""
        if self.transport is None:
            back.abort()
            return
        self.back = back
        back.write(bytes(self._early))
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.back is None:
            self._early += data
        else:
            self.back.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client has gone."""
        self.transport = None
        if self.back is not None:
            self.back.close()

    def pause_writing(self) -> None:
        """The client reads slowly: stop reading from the backend."""
        if self.back is not None:
            self.back.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.back is not None and not self.back.is_closing():
            self.back.resume_reading()

    def reset(self) -> None:
        """Refuse the client as a Service without endpoints does."""
        if self.transport is not None:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class Back(asyncio.Protocol):
    """The backend's side of a relayed connection."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The backend has accepted."""
        self._transport = cast(asyncio.Transport, transport)
        self._front.connected(self._transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the backend."""
        if self._front.transport is not None:
            self._front.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The backend has closed, or died: so is the client's connection."""
        if self._front.transport is not None:
            if exc is not None:
                self._front.reset()
            else:
                self._front.transport.close()

    def pause_writing(self) -> None:
        """The backend reads slowly: stop reading from the client."""
        if self._front.transport is not None:
            self._front.transport.pause_reading()

    def resume_writing(self) -> None:
        """The backend has caught up."""
        if self._front.transport is not None and not self._front.transport.is_closing():
            self._front.transport.resume_reading()


async def serve(spec: dict[str, Any]) -> None:
    """Run one service until standard input closes."""
    service = Service(
        backends=[
            Backend(one["name"], split(one["address"]), split(one["ready"]), one["path"], one.get("zone", ""))
            for one in spec["backends"]
        ],
        draw=random.Random(spec["seed"]),
    )
    loop = asyncio.get_running_loop()
    host, port = split(spec["listen"])
    server = await loop.create_server(lambda: Front(service), host, port, backlog=4096)
    control = await asyncio.start_server(partial(_control, service), *split(spec["control"]))
    watchers = [asyncio.ensure_future(service.watch(backend)) for backend in service.backends]
    _say(listening=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    for watcher in watchers:
        watcher.cancel()
    server.close()
    control.close()


async def _control(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request on the control port."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, *_ = head.decode("latin-1").split(" ", 2)
            match method, path.strip("/").split("/"):
                case "GET", ["endpoints"]:
                    found = True
                case "POST", ["endpoints", name, change]:
                    found = service.change(name, change)
                case _:
                    found = False
            answer = service.listing() if found else {"error": f"no such thing: {method} {path}"}
            body = json.dumps(answer).encode() + b"\n"
            status = "200 OK" if found else "404 Not Found"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return  # whoever asks like that gets no answer
    finally:
        writer.close()


async def _answers(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*backend.ready_at)
            try:
                writer.write(get("{}:{}".format(*backend.ready_at), backend.path))
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
