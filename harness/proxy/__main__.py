"""`python -m harness.proxy`: the embedded proxy server for programs; `harness toxiproxy` is the same for people.

Says `{"event": "ready", "host": ..., "port": ...}` on stdout once all listens, logs to stderr, and ends with 0 on
SIGTERM, SIGINT and SIGHUP, and, with `--until-stdin-closes`, when its parent closes (or dies with) the pipe on stdin.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.proxy.process import for_programs, serve
from harness.proxy.server import ServerConfig


def main() -> int:
    """Run until told to stop; returns the exit code."""
    options = _options()
    config = ServerConfig(options.host, options.port, options.config)
    try:
        serve(config, for_programs, until_stdin_closes=options.until_stdin_closes)
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
    parser.add_argument("--config", type=Path, metavar="FILE", help="JSON list of proxies to start with")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the pipe on stdin is closed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
