"""Leads proxies to the Redis server that the sentinels have chosen: `python -m harness.stack.follower ORDERS`.

ORDERS: `{"name": "redis", "sentinels": ["host:port", ...], "api": "host:port", "proxies": ["app-redis"]}`. Standard
output has one JSON line per change, and the process ends when its standard input closes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.probes import split
from harness.proxy.client import ToxiproxyClient
from harness.redis_calls import primary, role

PERIOD_S = 0.05
TIMEOUT_S = 0.5


def follow(orders: dict[str, Any], over: threading.Event) -> None:
    """Look for the primary again and again until it is over; lead the proxies there when it has changed."""
    api = ToxiproxyClient(*split(orders["api"]))
    leads_to = ""
    while not over.wait(PERIOD_S):
        found = primary(orders["name"], orders["sentinels"], TIMEOUT_S)
        if found in ("", leads_to) or role(found, TIMEOUT_S) != "master":
            continue
        try:
            for proxy in orders["proxies"]:
                api.set_upstream(proxy, found)
        except HarnessError as error:
            _say(error=str(error))  # the next look tries again
        else:
            leads_to = found
            _say(primary=found)


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    closed = threading.Event()
    orders = json.loads(Path(sys.argv[1]).read_text())
    threading.Thread(target=follow, args=(orders, closed), daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)
