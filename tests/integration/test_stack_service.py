"""The L4 service by itself, before two small servers: who gets new connections, and who keeps those that are open."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.endpoints import Endpoint, Endpoints
from harness.errors import StackError
from harness.faults.undo import admit_endpoint, by_hand
from harness.ports import reserve_port
from harness.probes import probe, split, wait_for


@contextmanager
def serving(folder: Path, ready: dict[str, bool]) -> Iterator[tuple[str, Endpoints]]:
    """A service before servers that are ready or not; yields where it listens, and its endpoints."""
    ports = {name: _serve(name, ready) for name in ready}
    listen, control = (f"127.0.0.1:{reserve_port()}" for _ in range(2))
    backends = [
        {"name": name, "address": f"127.0.0.1:{port}", "ready": f"127.0.0.1:{port}", "path": "/ready", "zone": "north"}
        for name, port in ports.items()
    ]
    spec = folder / "service.json"
    spec.write_text(json.dumps({"listen": listen, "control": control, "seed": 3, "backends": backends}))
    service = subprocess.Popen([sys.executable, "-m", "harness.stack.service", str(spec)], stdin=subprocess.PIPE)
    try:
        assert wait_for(lambda: probe("http", listen, path="/").ok, timeout_s=20)
        yield listen, Endpoints(control, tuple(ready))
    finally:
        assert service.stdin is not None
        service.stdin.close()
        service.wait(10)


def test_the_service_leaves_out_what_is_not_ready(tmp_path: Path) -> None:
    """Two backends of which one stops being ready: after three failed probes nobody is sent there any more."""
    ready = {"a": True, "b": True}
    with serving(tmp_path, ready) as (listen, _):
        assert wait_for(lambda: _seen(listen) == {"a", "b"}, timeout_s=20)
        ready["a"] = False
        assert wait_for(lambda: _seen(listen) == {"b"}, timeout_s=20)
        ready["b"] = False
        assert wait_for(lambda: _seen(listen) == set(), timeout_s=20)
        ready["a"] = True
        assert wait_for(lambda: _seen(listen) == {"a"}, timeout_s=20)


def test_an_endpoint_that_is_withdrawn_gets_nothing_new_and_keeps_what_it_has(tmp_path: Path) -> None:
    ready = {"a": True, "b": True}
    with serving(tmp_path, ready) as (listen, endpoints):
        assert wait_for(lambda: _seen(listen) == {"a", "b"}, timeout_s=20)
        kept = {}
        while set(kept) != {"a", "b"}:
            connection = http.client.HTTPConnection(*split(listen), timeout=5)
            kept[_ask(connection)] = connection
        endpoints.withdraw("a")
        assert _seen(listen) == {"b"}, "at once, though it is ready"
        assert _ask(kept["a"]) == "a"
        assert endpoints.states() == {"a": Endpoint(False, False, "north"), "b": Endpoint(True, True, "north")}
        endpoints.withdraw("a")
        ready["a"] = False
        endpoints.admit("a")
        assert not wait_for(lambda: endpoints.serves("a"), timeout_s=1.5), "what it was before it went does not count"
        ready["a"] = True
        assert wait_for(lambda: endpoints.serves("a") and _seen(listen) == {"a", "b"}, timeout_s=20)


def test_the_command_by_hand_puts_an_endpoint_back(tmp_path: Path) -> None:
    with serving(tmp_path, {"a": True}) as (_, endpoints):
        endpoints.withdraw("a")
        command = by_hand(admit_endpoint(endpoints.control, "a"))
        subprocess.run(command.split(), check=True, capture_output=True)
        assert endpoints.states()["a"].admitted


def test_what_the_control_port_does_not_know_is_an_error(tmp_path: Path) -> None:
    with serving(tmp_path, {"a": True}) as (_, endpoints):
        with pytest.raises(StackError, match="no such thing: POST /endpoints/x/withdraw"):
            endpoints.withdraw("x")
        for request in ("DELETE", "GET"):
            assert requests.request(request, f"http://{endpoints.control}/", timeout=5).status_code == 404
    with pytest.raises(StackError, match="does not answer on its control port"):
        endpoints.withdraw("a")


def _ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def _seen(listen: str) -> set[str]:
    seen = set()
    for _ in range(12):
        try:
            seen.add(requests.get(f"http://{listen}/", timeout=2).text)
        except requests.ConnectionError:
            continue
    return seen


def _serve(name: str, ready: dict[str, bool]) -> int:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" or ready[name] else 503)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
