"""The proxy server as a whole: everything in one event loop until it is told to stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType

from harness.errors import HarnessError
from harness.proxy.address import Address, AddressError, bound_to, listen, resolve
from harness.proxy.api import Api
from harness.proxy.collection import ProxyCollection
from harness.proxy.errors import ApiError
from harness.proxy.http import HttpConnection
from harness.proxy.proxy import Engine
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
    """The API and its proxies, from `async with` on until the end of its block. `port` is the API's."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.port = 0

    async def __aenter__(self) -> ProxyServer:
        loop = asyncio.get_running_loop()
        counters = Counters()
        self._timers = Timers(loop)
        self._proxies = ProxyCollection(Engine(self._timers, counters, Random()))
        api = Api(self._proxies, counters)
        if self._config.proxies is not None:
            await _populate(api, self._config.proxies)
        try:
            address = await resolve(str(Address(self._config.host, self._config.port)))
            sock = listen(address)
        except AddressError as error:
            raise ProxyServerError(f"the proxy's API cannot listen: {error}") from error
        self.port = int(bound_to(sock).rpartition(":")[2])
        self._server = await loop.create_server(lambda: HttpConnection(api.handle), sock=sock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self._proxies.stop()
        await asyncio.sleep(0)  # aborted transports close in the loop's next round
        self._timers.close()


async def _populate(api: Api, file: Path) -> None:
    try:
        body = file.read_bytes()
    except OSError as error:
        raise ProxyServerError(f"cannot read the proxies to start with: {error}") from error
    try:
        await api.populate(body)
    except ApiError as error:
        raise ProxyServerError(
            f"{file}: {error.message}", remedy='expected: [{"name": ..., "listen": ..., "upstream": ...}, ...]'
        ) from error
