"""The proxy server as a whole: everything in one event loop until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType

from harness.errors import HarnessError
from harness.proxy.address import Address, AddressError, bound_to, listen, resolve, split_host_port
from harness.proxy.api import Api
from harness.proxy.collection import PopulateError, ProxyCollection
from harness.proxy.config import ConfigError, Entry, read_config
from harness.proxy.http import HttpConnection
from harness.proxy.proxy import Engine, Proxy
from harness.proxy.timers import Timers
from harness.proxy.traffic import Counters


class ProxyServerError(HarnessError):
    """The proxy server cannot start."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the API listens (port 0 picks one) and, if given, the JSON file of proxies to start with."""

    host: str
    port: int
    proxies: Path | None = None


class ProxyServer:
    """The API and its proxies, from `async with` on until the end of its block. `host` and `port` are the API's."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.host = config.host
        self.port = 0

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """The proxies as they stand, by name."""
        return tuple(self._proxies.all().values())

    async def __aenter__(self) -> ProxyServer:
        loop = asyncio.get_running_loop()
        entries = () if self._config.proxies is None else read_config(self._config.proxies)
        sock = await _listen(self._config)
        self.host, port = split_host_port(bound_to(sock))
        self.port = int(port)
        counters = Counters()
        self._timers = Timers(loop)
        self._proxies = ProxyCollection(Engine(self._timers, counters, Random()))
        try:
            await self._start(entries)
        except ConfigError:
            sock.close()
            await self._stop()
            raise
        api = Api(self._proxies, counters)
        self._server = await loop.create_server(lambda: HttpConnection(api.handle), sock=sock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        await self._stop()

    async def _start(self, entries: Sequence[Entry]) -> None:
        try:
            await self._proxies.populate([entry.spec for entry in entries])
        except PopulateError as error:
            failed = entries[len(error.done)]
            raise ConfigError(
                f"`{failed.spec.name}` cannot listen: {error.message}",
                file=self._config.proxies or "",
                line=failed.line,
                field="listen",
            ) from error

    async def _stop(self) -> None:
        self._proxies.stop()
        await asyncio.sleep(0)  # aborted transports close in the loop's next round
        self._timers.close()


async def _listen(config: ServerConfig) -> socket.socket:
    try:
        return listen(await resolve(str(Address(config.host, config.port))))
    except AddressError as error:
        raise ProxyServerError(
            f"the proxy's API cannot listen: {error}",
            remedy=f"is something else on port {config.port}? `--port 0` picks a free one" if config.port else "",
        ) from error
