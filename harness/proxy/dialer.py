"""Makes the connections to a proxy's upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from harness.proxy.address import AddressError, is_ip, lookup, port_number, split_host_port

_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.Protocol)


class Dialer:
    """Connects to one `host:port`. Names are looked up anew for each connection, as clients of a real network do.

    Connections that are made at the same time share one lookup, so that a name server which hangs holds one thread per
    proxy, not one per connection.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._lookup: asyncio.Task[list[str]] | None = None

    async def dial(self, factory: Callable[[], _ProtocolT]) -> _ProtocolT:
        """Connect to the first address that answers. Raises OSError or AddressError."""
        host, port_text = split_host_port(self._upstream)
        port = port_number(port_text)
        loop = asyncio.get_running_loop()
        refused: OSError | None = None
        for ip in await self._addresses(host or "localhost"):
            try:
                return (await loop.create_connection(factory, ip, port))[1]
            except OSError as error:
                refused = error
        raise refused or AddressError(f"lookup {host}: no such host")

    async def _addresses(self, host: str) -> list[str]:
        if is_ip(host):
            return [host]
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.ensure_future(lookup(host))
        return await asyncio.shield(self._lookup)
