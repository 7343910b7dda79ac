"""The embedded server as a process, and how tests talk to it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from typing import Any

COMMAND = [sys.executable, "-m", "harness.proxy", "--port", "0"]


def start(*options: str, **popen: Any) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True, **popen)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["event"] == "ready"
    return process, ready["port"]


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text else None
    finally:
        connection.close()


def add_proxy(api: int, upstream: str, name: str = "p") -> int:
    status, proxy = ask(api, "POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream})
    assert status == 201, proxy
    return int(proxy["listen"].rpartition(":")[2])


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
