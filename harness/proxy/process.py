"""The embedded server as what a process does: from the first line it says to the signal that ends it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable

import uvloop

from harness.proxy.address import Address
from harness.proxy.server import ProxyServer, ProxyServerError, ServerConfig

STDIN = 0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(config: ServerConfig, words: Callable[[ProxyServer], str], *, until_stdin_closes: bool = False) -> None:
    """Serve until a signal comes, or the pipe on stdin is closed (by whoever holds its other end, or by its death).

    Prints `words` once everything listens, and warnings on stderr. Raises HarnessError when it cannot start.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="proxy: %(levelname)s %(message)s")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a connection takes two
    uvloop.run(_serve(config, words, until_stdin_closes=until_stdin_closes))


def for_programs(server: ProxyServer) -> str:
    """Where the API listens, as a line of JSON."""
    return json.dumps({"event": "ready", "host": server.host, "port": server.port})


def for_people(server: ProxyServer) -> str:
    """Where the API and the proxies listen, and how this ends."""
    lines = [f"Toxiproxy's API listens on http://{Address(server.host, server.port)}"]
    for proxy in server.proxies:
        lines.append(f"  {proxy.name}: {proxy.listen if proxy.enabled else 'disabled'} -> {proxy.upstream}")
    return "\n".join([*lines, "Ctrl-C ends it, and every connection through it."])


async def _serve(config: ServerConfig, words: Callable[[ProxyServer], str], *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        _watch_stdin(loop, stop)
    async with ProxyServer(config) as server:
        sys.stdout.write(words(server) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        if not os.read(STDIN, 65536):
            loop.remove_reader(STDIN)
            stop.set()

    try:
        loop.add_reader(STDIN, read)
    except OSError as error:
        raise ProxyServerError("--until-stdin-closes needs a pipe on stdin", remedy=str(error)) from error
