"""The conductor's client against the embedded server, and against servers that misbehave."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from harness.errors import HarnessError
from harness.proxy import client as client_module
from harness.proxy.client import ProxyNotFoundError, ProxyState, ToxiproxyClient, ToxiproxyError


def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def connect(listen: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), timeout=5)


@pytest.fixture
def client() -> Iterator[ToxiproxyClient]:
    command = [sys.executable, "-m", "harness.proxy", "--port", "0", "--until-stdin-closes"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    yield ToxiproxyClient("127.0.0.1", json.loads(process.stdout.readline())["port"])
    process.stdin.close()
    assert process.wait(timeout=10) == 0


def test_a_proxys_life(client: ToxiproxyClient) -> None:
    assert client.version() == "2.12.0"
    listen = client.create("app-redis", "127.0.0.1:0", "127.0.0.1:9")
    assert client.proxies() == {"app-redis": ProxyState("app-redis", listen, "127.0.0.1:9", enabled=True)}
    client.set_enabled("app-redis", enabled=False)
    client.set_enabled("app-redis", enabled=False)
    assert client.proxies()["app-redis"].enabled is False
    client.reset()
    assert client.proxies()["app-redis"].enabled is True
    assert client.destroy("app-redis") is True
    assert client.destroy("app-redis") is False


def test_a_web_proxy_of_the_users_environment_is_not_asked(
    client: ToxiproxyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.version() == "2.12.0"


def test_a_toxics_life(client: ToxiproxyClient) -> None:
    client.create("p", "127.0.0.1:0", "127.0.0.1:9")
    client.add_toxic("p", "slow", "latency", "upstream", {"latency": 10}, toxicity=0.5)
    assert client.toxics("p") == ("slow",)
    client.update_toxic("p", "slow", {"jitter": 3})
    toxic = client._proxy("p").get_toxic("slow")
    assert (toxic.attributes, toxic.toxicity, toxic.stream) == ({"latency": 10, "jitter": 3}, 0.5, "upstream")
    client.update_toxic("p", "slow", {}, toxicity=1.0)
    assert client._proxy("p").get_toxic("slow").toxicity == 1
    assert client.remove_toxic("p", "slow") is True
    assert client.remove_toxic("p", "slow") is False
    assert client.remove_toxic("nowhere", "slow") is False


def test_metrics(client: ToxiproxyClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        listen = client.create("p", "127.0.0.1:0", f"127.0.0.1:{upstream.getsockname()[1]}")
        with socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2]))) as sock:
            accepted, _ = upstream.accept()
            with accepted:
                sock.sendall(b"12345")
                assert accepted.recv(5, socket.MSG_WAITALL) == b"12345"
                assert client.metrics() == {
                    ("p", "upstream", "received"): 5,
                    ("p", "upstream", "sent"): 5,
                    ("p", "downstream", "received"): 0,
                    ("p", "downstream", "sent"): 0,
                }


def test_another_upstream_behind_the_same_address(client: ToxiproxyClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as primary, socket.create_server(("127.0.0.1", 0)) as replica:
        listen = client.create("p", "127.0.0.1:0", address(primary))
        client.add_toxic("p", "held", "bandwidth", "upstream", {"rate": 1000})
        with connect(listen) as before, primary.accept()[0] as accepted:
            client.set_upstream("p", address(primary))
            before.sendall(b"still here")
            assert accepted.recv(10, socket.MSG_WAITALL) == b"still here"
            client.set_upstream("p", address(replica))
            assert before.recv(1) == b""
        assert client.proxies()["p"] == ProxyState("p", listen, address(replica), enabled=True)
        assert client.toxics("p") == ("held",)
        with connect(listen):
            replica.settimeout(5)
            replica.accept()[0].close()
        client.set_enabled("p", enabled=False)
        client.set_upstream("p", address(primary))
        assert client.proxies()["p"] == ProxyState("p", listen, address(primary), enabled=False)
    with pytest.raises(ProxyNotFoundError, match="proxy not found"):
        client.set_upstream("nowhere", "127.0.0.1:9")


def test_dropped_connections_can_be_made_again(client: ToxiproxyClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(5)
        listen = client.create("p", "127.0.0.1:0", address(upstream))
        with connect(listen) as one, connect(listen) as other:
            accepted = [upstream.accept()[0] for _ in range(2)]
            client.drop_connections("p")
            for sock in (one, other, *accepted):
                sock.settimeout(5)
                assert sock.recv(1) == b""
                sock.close()
        with connect(listen):
            upstream.accept()[0].close()
        client.set_enabled("p", enabled=False)
        client.drop_connections("p")
        assert client.proxies()["p"].enabled is False
    with pytest.raises(ProxyNotFoundError, match="no proxy 'nowhere'"):
        client.drop_connections("nowhere")


def test_refusals_are_errors_with_the_servers_words(client: ToxiproxyClient) -> None:
    client.create("p", "127.0.0.1:0", "127.0.0.1:9")
    with pytest.raises(HarnessError, match="has a proxy 'p' already"):
        client.create("p", "127.0.0.1:0", "127.0.0.1:9")
    with pytest.raises(ToxiproxyError, match="address already in use"):
        client.create("q", f"127.0.0.1:{client.port}", "127.0.0.1:9")
    with pytest.raises(ToxiproxyError, match="invalid toxic type"):
        client.add_toxic("p", "x", "no-such", "upstream", {})
    with pytest.raises(ProxyNotFoundError, match="toxic not found"):
        client.update_toxic("p", "x", {})
    with pytest.raises(ProxyNotFoundError, match="no proxy 'nowhere'") as caught:
        client.add_toxic("nowhere", "x", "latency", "upstream", {})
    assert caught.value.remedy == "it has: p"


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ToxiproxyError, match=f"Toxiproxy at 127.0.0.1:{port} did not answer"):
        ToxiproxyClient("127.0.0.1", port).proxies()


def test_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ToxiproxyClient("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(ToxiproxyError, match="did not answer"):
            client.remove_toxic("p", "t")


class _Failing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"error": "on fire", "status": 503}')

    do_POST = do_GET
    do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_5xx_answers_are_raised() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = ToxiproxyClient("127.0.0.1", server.server_port)
    try:
        for call in (client.proxies, client.reset, client.metrics, lambda: client.remove_toxic("p", "t")):
            with pytest.raises(ToxiproxyError, match="503 on fire"):
                call()
    finally:
        server.shutdown()
        server.server_close()
