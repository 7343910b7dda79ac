"""`python -m harness.proxy`: the embedded proxy server as a process of its own.

Says `{"event": "ready", "port": N}` on stdout once the API listens, logs to stderr, and ends with 0 on SIGTERM and
SIGINT, and, with `--until-stdin-closes`, when its parent closes (or dies with) the pipe on its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from harness.errors import HarnessError
from harness.proxy.server import ProxyServer, ProxyServerError, ServerConfig

STDIN = 0


def main() -> int:
    """Run until told to stop; returns the exit code."""
    options = _options()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="proxy: %(levelname)s %(message)s")
    config = ServerConfig(options.host, options.port, options.config)
    try:
        uvloop.run(_serve(config, until_stdin_closes=options.until_stdin_closes))
    except HarnessError as error:
        sys.stderr.write(f"proxy: {error}\n")
        return int(error.exit_code)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m harness.proxy", description="A TCP proxy with faults, controlled by Toxiproxy's HTTP API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the API listens (default %(default)s)")
    parser.add_argument("--port", type=int, default=8474, help="its port; 0 picks a free one (default %(default)s)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="JSON array of proxies to start with")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the pipe on stdin is closed")
    return parser.parse_args()


async def _serve(config: ServerConfig, *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        _watch_stdin(loop, stop)
    async with ProxyServer(config) as server:
        sys.stdout.write(json.dumps({"event": "ready", "port": server.port}) + "\n")
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


if __name__ == "__main__":
    sys.exit(main())
