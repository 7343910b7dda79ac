"""The answers of Toxiproxy 2.12, asked of the embedded server, and of a real one when TOXIPROXY_SERVER names a binary.

Every expectation here was seen on the real server. `"Logger"` in a proxy, the request id header and the text of
`/version` are left out: builds differ in them and clients must not depend on them.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

REAL = os.environ.get("TOXIPROXY_SERVER", "")


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str | None
    body: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return _without_logger(json.loads(self.body))


class Server:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        text = body if isinstance(body, str | None) else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, text.encode() if text is not None else None, headers)
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found.get("content-type"), reply.read().decode(), found)
        finally:
            connection.close()

    def proxy(self, upstream: int | str, name: str = "p", listen: str = "127.0.0.1:0") -> int:
        target = f"127.0.0.1:{upstream}" if isinstance(upstream, int) else upstream
        answer = self.ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": target})
        assert answer.status == 201, answer
        return int(answer.json["listen"].rpartition(":")[2])

    def toxic(self, type: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> None:
        body = {"type": type, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        answer = self.ask("POST", "/proxies/p/toxics", body)
        assert answer.status == 200, answer


def _without_logger(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_logger(item) for key, item in value.items() if key != "Logger"}
    if isinstance(value, list):
        return [_without_logger(item) for item in value]
    return value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _embedded() -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "harness.proxy", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["port"]


def _real() -> tuple[subprocess.Popen[str], int]:
    port = _free_port()
    command = [REAL, "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return process, port


@pytest.fixture(scope="module", params=["embedded", "real"] if REAL else ["embedded"])
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    process, port = _embedded() if request.param == "embedded" else _real()
    yield Server(port)
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    for name in running.ask("GET", "/proxies").json:
        if "/" not in name:
            running.ask("DELETE", f"/proxies/{name}")


class Upstream:
    """A TCP server whose accepted sockets the test holds."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.settimeout(5)
        self.port = int(self.listener.getsockname()[1])

    def accept(self) -> socket.socket:
        accepted, _ = self.listener.accept()
        accepted.settimeout(5)
        return accepted


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.listener.close()


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=5)


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def arrives_within(sock: socket.socket, seconds: float) -> bool:
    sock.settimeout(seconds)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    finally:
        sock.settimeout(5)
    return True


BAD = "bad request body: "
PLAIN_ERROR = "text/plain; charset=utf-8"

# --- protocol ---------------------------------------------------------------------------------------------------


def test_version(server: Server) -> None:
    answer = server.ask("GET", "/version")
    assert (answer.status, answer.content_type) == (200, "application/json;charset=utf-8")
    assert set(answer.json) == {"version"}
    assert answer.body.endswith("\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/nope", 404, "404 page not found\n"),
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/proxies/", 404, "404 page not found\n"),
        ("GET", "/proxies/a%2Fb", 404, "404 page not found\n"),
        ("POST", "/version", 405, ""),
        ("HEAD", "/version", 405, ""),
        ("OPTIONS", "/proxies", 405, ""),
        ("PUT", "/proxies/a", 405, ""),
        ("GET", "/populate", 405, ""),
        ("GET", "/reset", 405, ""),
        ("DELETE", "/proxies/a/toxics", 405, ""),
        ("GET", "/proxies/none?x=1", 404, '{"error":"proxy not found","status":404}\n'),
        ("DELETE", "/proxies/none", 404, '{"error":"proxy not found","status":404}\n'),
        ("POST", "/proxies/none", 404, '{"error":"proxy not found","status":404}\n'),
        ("POST", "/proxies/none/toxics", 404, '{"error":"proxy not found","status":404}\n'),
    ],
)
def test_paths_and_methods(server: Server, method: str, path: str, status: int, body: str) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.body) == (status, body)
    if body:
        assert answer.content_type == PLAIN_ERROR
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//proxies", "/proxies"),
        ("/./proxies", "/proxies"),
        ("/proxies//a", "/proxies/a"),
        ("/proxies/../version", "/version"),
        ("//proxies?a=b", "/proxies?a=b"),
        ("/%2e/x", "/x"),
    ],
)
def test_unclean_paths_are_redirected(server: Server, path: str, location: str) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.headers["location"]) == (301, location)


def test_browsers_are_refused(server: Server) -> None:
    refused = server.ask("GET", "/version", **{"User-Agent": "Mozilla/5.0 (X11)"})
    assert (refused.status, refused.body) == (403, "User agent not allowed\n")
    assert server.ask("GET", "/nope", **{"User-Agent": "Mozilla/5.0"}).status == 404
    assert server.ask("GET", "/version", **{"User-Agent": "mozilla/5.0"}).status == 200


def test_one_connection_serves_many_requests(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/version")
        assert connection.getresponse().read()
    connection.close()


def test_a_client_that_waits_for_100_continue(server: Server) -> None:
    with connect(server.port) as sock:
        sock.sendall(b"POST /proxies HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert receive(sock, 25).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(b"{}")
        assert b"missing required field: name" in sock.recv(4096)


def test_what_is_not_http_is_refused(server: Server) -> None:
    with connect(server.port) as sock:
        sock.sendall(b"GARBAGE\r\n\r\n")
        assert receive(sock, 12) == b"HTTP/1.1 400"


# --- proxies ----------------------------------------------------------------------------------------------------


def test_create_show_list_delete(server: Server) -> None:
    created = server.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
    assert (created.status, created.content_type) == (201, "application/json")
    listen = created.json["listen"]
    assert int(listen.rpartition(":")[2]) > 0
    wanted = {"name": "p", "listen": listen, "upstream": "127.0.0.1:9", "enabled": True, "toxics": []}
    assert created.json == wanted
    assert server.ask("GET", "/proxies/p").json == wanted
    assert server.ask("GET", "/proxies").json == {"p": wanted}
    assert server.ask("DELETE", "/proxies/p").status == 204
    assert server.ask("GET", "/proxies").json == {}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, BAD + "EOF"),
        ("  \n", 400, BAD + "EOF"),
        ("{", 400, BAD + "unexpected EOF"),
        ("xx", 400, BAD + "invalid character 'x' looking for beginning of value"),
        ("[]", 400, BAD + "json: cannot unmarshal array into Go value of type toxiproxy.Proxy"),
        ('"a"', 400, BAD + "json: cannot unmarshal string into Go value of type toxiproxy.Proxy"),
        ("null", 400, "missing required field: name"),
        ("{}", 400, "missing required field: name"),
        ('{"name":"a"}', 400, "missing required field: upstream"),
        ('{"name":1}', 400, BAD + "json: cannot unmarshal number into Go struct field Proxy.name of type string"),
        (
            '{"name":"a","enabled":"x"}',
            400,
            BAD + "json: cannot unmarshal string into Go struct field Proxy.enabled of type bool",
        ),
        (
            '{"name":"a","listen":[1]}',
            400,
            BAD + "json: cannot unmarshal array into Go struct field Proxy.listen of type string",
        ),
        (
            '{"name":"c","upstream":"x:9","listen":"127.0.0.1:99999"}',
            500,
            "listen tcp: address 99999: invalid port",
        ),
        ('{"name":"c","upstream":"x:9","listen":"127.0.0.1:-1"}', 500, "listen tcp: address -1: invalid port"),
        (
            '{"name":"c","upstream":"x:9","listen":"127.0.0.1"}',
            500,
            "listen tcp: address 127.0.0.1: missing port in address",
        ),
        (
            '{"name":"c","upstream":"x:9","listen":"127.0.0.1:nosuchport"}',
            500,
            "listen tcp: lookup tcp/nosuchport: unknown port",
        ),
        (
            '{"name":"c","upstream":"x:9","listen":"127.0.0.1:80:90"}',
            500,
            "listen tcp: address 127.0.0.1:80:90: too many colons in address",
        ),
        ('{"name":"c","upstream":"x:9","listen":"[::1"}', 500, "listen tcp: address [::1: missing ']' in address"),
        ('{"name":"c","upstream":"x:9","listen":"[::1]"}', 500, "listen tcp: address [::1]: missing port in address"),
        (
            '{"name":"c","upstream":"x:9","listen":"192.0.2.1:0"}',
            500,
            "listen tcp 192.0.2.1:0: bind: cannot assign requested address",
        ),
    ],
)
def test_refused_proxies(server: Server, body: str, status: int, error: str) -> None:
    answer = server.ask("POST", "/proxies", body)
    assert (answer.status, answer.content_type) == (status, PLAIN_ERROR)
    assert json.loads(answer.body) == {"error": error, "status": status}
    assert answer.body.endswith("}\n")
    assert server.ask("GET", "/proxies").json == {}


def test_a_name_is_taken_once(server: Server) -> None:
    server.proxy(9)
    answer = server.ask("POST", "/proxies", {"name": "p", "upstream": "x:1", "listen": "nonsense"})
    assert (answer.status, answer.json["error"]) == (409, "proxy already exists")


def test_a_port_is_taken_once(server: Server) -> None:
    answer = server.ask("POST", "/proxies", {"name": "p", "upstream": "x:1", "listen": f"127.0.0.1:{server.port}"})
    assert answer.status == 500
    assert answer.json["error"] == f"listen tcp 127.0.0.1:{server.port}: bind: address already in use"


def test_keys_of_any_case_and_what_follows_the_body(server: Server) -> None:
    answer = server.ask("POST", "/proxies", '{"NAME":"p","upsTream":"x:9","enabled":false,"zz":1} rubbish')
    assert answer.status == 201
    assert answer.json == {"name": "p", "listen": "", "upstream": "x:9", "enabled": False, "toxics": []}


@pytest.mark.parametrize("listen", ["", ":0", "[::]:0", "0.0.0.0:0"])
def test_a_wildcard_listens_on_both_families(server: Server, upstream: Upstream, listen: str) -> None:
    answer = server.ask("POST", "/proxies", {"name": "p", "listen": listen, "upstream": f"127.0.0.1:{upstream.port}"})
    host, _, port = answer.json["listen"].rpartition(":")
    assert host == "[::]"
    for address in ("127.0.0.1", "::1"):
        with connect(int(port), address) as client, upstream.accept() as accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


def test_listens_on_ipv6_and_names(server: Server) -> None:
    for listen, host in (("[::1]:0", "[::1]"), ("localhost:0", "127.0.0.1")):
        body = {"name": f"p{host[0]}", "listen": listen, "upstream": "x:1"}
        assert server.ask("POST", "/proxies", body).json["listen"].rpartition(":")[0] == host


def test_json_is_escaped_as_go_does(server: Server) -> None:
    answer = server.ask("POST", "/proxies", '{"name":"é<&>\\u2028\\ud800","upstream":"x:1","enabled":false}')
    assert '"name":"é\\u003c\\u0026\\u003e\\u2028\ufffd"' in answer.body
    assert server.ask("DELETE", "/proxies/%C3%A9%3C%26%3E%E2%80%A8%EF%BF%BD").status == 204


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_update_changes_what_is_named(server: Server, method: str) -> None:
    port = server.proxy(9)
    answer = server.ask(method, "/proxies/p", {"upstream": "127.0.0.1:10", "name": "other"})
    assert answer.status == 200
    assert answer.json == {
        "name": "p",
        "listen": f"127.0.0.1:{port}",
        "upstream": "127.0.0.1:10",
        "enabled": True,
        "toxics": [],
    }


def test_an_equal_update_keeps_connections_and_another_drops_them(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        same = {"listen": f"localhost:{port}", "upstream": f"127.0.0.1:{upstream.port}", "enabled": True}
        assert server.ask("PATCH", "/proxies/p", same).status == 200
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        assert server.ask("PATCH", "/proxies/p", {"upstream": "127.0.0.1:9"}).json["enabled"] is True
        assert client.recv(1) == b""
        assert accepted.recv(1) == b""


def test_an_update_to_a_taken_port_leaves_it_disabled_there(server: Server) -> None:
    server.proxy(9)
    taken = f"127.0.0.1:{server.port}"
    answer = server.ask("PATCH", "/proxies/p", {"listen": taken})
    assert (answer.status, answer.json["error"]) == (500, f"listen tcp {taken}: bind: address already in use")
    after = server.ask("GET", "/proxies/p").json
    assert (after["enabled"], after["listen"]) == (False, taken)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"listen": "127.0.0.1:99999"}, 500, "address 99999: invalid port"),
        ({"listen": "127.0.0.1"}, 500, "address 127.0.0.1: missing port in address"),
        (
            {"enabled": "no"},
            400,
            BAD + "json: cannot unmarshal string into Go struct field Proxy.enabled of type bool",
        ),
    ],
)
def test_refused_updates_change_nothing(server: Server, body: dict[str, Any], status: int, error: str) -> None:
    server.proxy(9)
    before = server.ask("GET", "/proxies/p").json
    answer = server.ask("PATCH", "/proxies/p", body)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert server.ask("GET", "/proxies/p").json == before


def test_disabling_closes_listener_and_connections(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        assert server.ask("PATCH", "/proxies/p", {"enabled": False}).json["enabled"] is False
        assert client.recv(1) == b""
        assert accepted.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(port)
    assert server.ask("PATCH", "/proxies/p", {"enabled": True}).json["listen"] == f"127.0.0.1:{port}"
    connect(port).close()


def test_reset_enables_and_removes_toxics(server: Server) -> None:
    port = server.proxy(9)
    server.toxic("latency")
    server.toxic("latency", "upstream")
    server.ask("PATCH", "/proxies/p", {"enabled": False})
    answer = server.ask("POST", "/reset")
    assert (answer.status, answer.body) == (204, "")
    after = server.ask("GET", "/proxies/p").json
    assert (after["enabled"], after["toxics"], after["listen"]) == (True, [], f"127.0.0.1:{port}")


# --- populate ---------------------------------------------------------------------------------------------------

_ANONYMOUS = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, BAD + "EOF"),
        ("{}", 400, BAD + f"json: cannot unmarshal object into Go value of type []{_ANONYMOUS}"),
        ("[3]", 400, BAD + f"json: cannot unmarshal number into Go value of type {_ANONYMOUS}"),
        ("[null]", 400, "missing required field: name at proxy 1"),
        ('[{"name":"a"}]', 400, "missing required field: upstream at proxy 1"),
        ('[{"name":"x","upstream":"l:1"},{"upstream":"x"}]', 400, "missing required field: name at proxy 2"),
    ],
)
def test_refused_populates_create_nothing(server: Server, body: str, status: int, error: str) -> None:
    answer = server.ask("POST", "/populate", body)
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert answer.json == {"error": error, "status": status, "proxies": None}
    assert server.ask("GET", "/proxies").json == {}


@pytest.mark.parametrize("body", ["[]", "null"])
def test_populate_with_nothing(server: Server, body: str) -> None:
    answer = server.ask("POST", "/populate", body)
    assert (answer.status, answer.json) == (201, {"proxies": None})


def test_populate_stops_at_the_first_that_fails(server: Server) -> None:
    taken = f"127.0.0.1:{server.port}"
    proxies = [
        {"name": "x", "upstream": "l:1", "listen": "127.0.0.1:0"},
        {"name": "y", "upstream": "l:1", "listen": taken},
        {"name": "z", "upstream": "l:1"},
    ]
    answer = server.ask("POST", "/populate", proxies)
    assert (answer.status, answer.json["status"]) == (500, 500)
    assert answer.json["error"] == f"listen tcp {taken}: bind: address already in use"
    assert [proxy["name"] for proxy in answer.json["proxies"]] == ["x"]
    assert list(server.ask("GET", "/proxies").json) == ["x"]


def test_populate_keeps_equal_proxies_and_replaces_others(server: Server) -> None:
    port = server.proxy(9)
    server.toxic("noop")
    same = {"name": "p", "upstream": "127.0.0.1:9", "listen": f"127.0.0.1:{port}"}
    kept = server.ask("POST", "/populate", [same | {"enabled": False}])
    assert kept.status == 201
    assert kept.json["proxies"][0]["enabled"] is True
    assert [toxic["name"] for toxic in kept.json["proxies"][0]["toxics"]] == ["noop_downstream"]
    replaced = server.ask("POST", "/populate", [same | {"upstream": "127.0.0.1:10", "enabled": None}])
    assert replaced.json["proxies"] == [same | {"upstream": "127.0.0.1:10", "enabled": True, "toxics": []}]


# --- toxics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "attributes"),
    [
        ("latency", {"latency": 0, "jitter": 0}),
        ("bandwidth", {"rate": 0}),
        ("slow_close", {"delay": 0}),
        ("timeout", {"timeout": 0}),
        ("reset_peer", {"timeout": 0}),
        ("limit_data", {"bytes": 0}),
        ("noop", {}),
    ],
)
def test_toxics_and_their_defaults(server: Server, type: str, attributes: dict[str, int]) -> None:
    server.proxy(9)
    answer = server.ask("POST", "/proxies/p/toxics", {"type": type})
    wanted = {
        "attributes": attributes,
        "name": f"{type}_downstream",
        "type": type,
        "stream": "downstream",
        "toxicity": 1,
    }
    assert (answer.status, answer.content_type, answer.json) == (200, "application/json", wanted)
    assert server.ask("GET", f"/proxies/p/toxics/{type}_downstream").json == wanted
    assert server.ask("GET", "/proxies/p/toxics").json == [wanted]
    assert server.ask("GET", "/proxies/p").json["toxics"] == [wanted]
    removed = server.ask("DELETE", f"/proxies/p/toxics/{type}_downstream")
    assert (removed.status, removed.body) == (204, "")
    gone = server.ask("DELETE", f"/proxies/p/toxics/{type}_downstream")
    assert (gone.status, gone.json["error"]) == (404, "toxic not found")


def test_the_order_of_answers_is_stream_then_age(server: Server) -> None:
    server.proxy(9)
    for name, stream in (("a", "downstream"), ("b", "upstream"), ("c", "downstream")):
        server.ask("POST", "/proxies/p/toxics", {"type": "noop", "name": name, "stream": stream})
    assert [toxic["name"] for toxic in server.ask("GET", "/proxies/p/toxics").json] == ["b", "a", "c"]
    duplicate = server.ask("POST", "/proxies/p/toxics", {"type": "noop", "name": "b", "stream": "downstream"})
    assert (duplicate.status, duplicate.json["error"]) == (409, "toxic already exists")


LATENCY_INT = "into Go struct field LatencyToxic.attributes.latency of type int64"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", BAD + "EOF"),
        ("{}", "invalid toxic type"),
        ("null", "invalid toxic type"),
        ('{"type":"x"}', "invalid toxic type"),
        ('{"type":"LATENCY"}', "invalid toxic type"),
        ('{"type":"x","stream":"sideways"}', "stream was invalid, can be either upstream or downstream"),
        ('{"type":"noop","stream":""}', "stream was invalid, can be either upstream or downstream"),
        ('{"type":5}', BAD + "json: cannot unmarshal number into Go struct field ToxicWrapper.type of type string"),
        ('{"type":"latency","attributes":{"latency":1.5}}', BAD + f"json: cannot unmarshal number 1.5 {LATENCY_INT}"),
        (
            '{"type":"latency","attributes":{"latency":100.0}}',
            BAD + f"json: cannot unmarshal number 100.0 {LATENCY_INT}",
        ),
        ('{"type":"latency","attributes":{"latency":1e3}}', BAD + f"json: cannot unmarshal number 1e3 {LATENCY_INT}"),
        ('{"type":"latency","attributes":{"latency":"5"}}', BAD + f"json: cannot unmarshal string {LATENCY_INT}"),
        ('{"type":"latency","attributes":{"latency":true}}', BAD + f"json: cannot unmarshal bool {LATENCY_INT}"),
        ('{"type":"latency","attributes":{"latency":{}}}', BAD + f"json: cannot unmarshal object {LATENCY_INT}"),
        (
            '{"type":"latency","attributes":{"latency":9223372036854775808}}',
            BAD + f"json: cannot unmarshal number 9223372036854775808 {LATENCY_INT}",
        ),
        (
            '{"type":"slicer","attributes":{"delay":"x"}}',
            BAD + "json: cannot unmarshal string into Go struct field SlicerToxic.attributes.delay of type int",
        ),
        (
            '{"type":"reset_peer","attributes":{"timeout":"x"}}',
            BAD + "json: cannot unmarshal string into Go struct field ResetToxic.attributes.timeout of type int64",
        ),
        (
            '{"type":"latency","attributes":[]}',
            BAD + "json: cannot unmarshal array into Go struct field ToxicWrapper.attributes of type toxics.NoopToxic",
        ),
        (
            '{"type":"latency","toxicity":1e40}',
            BAD + "json: cannot unmarshal number 1e40 into Go struct field ToxicWrapper.toxicity of type float32",
        ),
        (
            '{"type":"latency","toxicity":"1"}',
            BAD + "json: cannot unmarshal string into Go struct field ToxicWrapper.toxicity of type float32",
        ),
        (
            '{"toxicity":{},"type":3}',
            BAD + "json: cannot unmarshal object into Go struct field ToxicWrapper.toxicity of type float32",
        ),
        ('{"type":"noop",}', BAD + "invalid character '}' looking for beginning of object key string"),
        ("{'a':1}", BAD + "invalid character '\\'' looking for beginning of object key string"),
        ('{"a":01}', BAD + "invalid character '1' after object key:value pair"),
        ('{"a":"x\ty"}', BAD + "invalid character '\\t' in string literal"),
        ('{"a":nul}', BAD + "invalid character '}' in literal null (expecting 'l')"),
        ('{"a":1.}', BAD + "invalid character '}' after decimal point in numeric literal"),
        ('{"a":-}', BAD + "invalid character '}' in numeric literal"),
        ('{"a":1e}', BAD + "invalid character '}' in exponent of numeric literal"),
        ('{"a" 1}', BAD + "invalid character '1' after object key"),
        ('{"a":1 "b"}', BAD + "invalid character '\"' after object key:value pair"),
        ('{"a":"\\q"}', BAD + "invalid character 'q' in string escape code"),
        ('{"a":"\\u12x4"}', BAD + "invalid character 'x' in \\u hexadecimal character escape"),
        ("[1 2]", BAD + "invalid character '2' after array element"),
        ("[1,2", BAD + "unexpected EOF"),
        ('{"a":NaN}', BAD + "invalid character 'N' looking for beginning of value"),
        ("é", BAD + "invalid character 'Ã' looking for beginning of value"),
    ],
)
def test_refused_toxics(server: Server, body: str, error: str) -> None:
    server.proxy(9)
    answer = server.ask("POST", "/proxies/p/toxics", body)
    assert (answer.status, answer.content_type) == (400, PLAIN_ERROR)
    assert answer.json == {"error": error, "status": 400}
    assert server.ask("GET", "/proxies/p/toxics").json == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            '{"type":"latency","stream":"UpStream","attributes":{"latency":5,"JITTER":2,"zz":1}}',
            '{"attributes":{"latency":5,"jitter":2},"name":"latency_UpStream","type":"latency","stream":"UpStream",'
            '"toxicity":1}',
        ),
        (
            '{"type":"latency","toxicity":0.1,"attributes":{"latency":null,"latency":7,"latency":9}}',
            '{"attributes":{"latency":9,"jitter":0},"name":"latency_downstream","type":"latency",'
            '"stream":"downstream","toxicity":0.1}',
        ),
        (
            '{"type":"latency","stream":null,"attributes":null,"toxicity":null,"name":null}',
            '{"attributes":{"latency":0,"jitter":0},"name":"latency_downstream","type":"latency",'
            '"stream":"downstream","toxicity":1}',
        ),
        (
            '{"type":"latency","attributes":{"latency":-5,"jitter":-0}} rubbish',
            '{"attributes":{"latency":-5,"jitter":0},"name":"latency_downstream","type":"latency",'
            '"stream":"downstream","toxicity":1}',
        ),
        (
            '{"type":"noop","name":"a\\u00e9\\ud83d\\ude00<&>","attributes":{"a":1}}',
            '{"attributes":{},"name":"aé😀\\u003c\\u0026\\u003e","type":"noop","stream":"downstream","toxicity":1}',
        ),
    ],
)
def test_toxics_as_go_reads_and_writes_them(server: Server, body: str, shown: str) -> None:
    server.proxy(9)
    assert server.ask("POST", "/proxies/p/toxics", body).body == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("0.333333333333", "0.33333334"),
        ("-3.25", "-3.25"),
        ("1e30", "1e+30"),
        ("1e-9", "1e-9"),
        ("0.000001", "0.000001"),
        ("123456789", "123456790"),
        ("1e20", "100000000000000000000"),
        ("1E+2", "100"),
        ("0", "0"),
        ("0.5", "0.5"),
    ],
)
def test_toxicity_is_a_float32(server: Server, written: str, shown: str) -> None:
    server.proxy(9)
    answer = server.ask("POST", "/proxies/p/toxics", f'{{"type":"noop","toxicity":{written}}}')
    assert answer.body.endswith(f'"toxicity":{shown}}}')


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_toxic_updates_merge(server: Server, method: str) -> None:
    server.proxy(9)
    server.toxic("latency", latency=5)
    path = "/proxies/p/toxics/latency_downstream"
    body = {"attributes": {"jitter": 1}, "toxicity": 0.5, "name": "zz", "type": "noop", "stream": "upstream"}
    merged = {
        "attributes": {"latency": 5, "jitter": 1},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }
    answer = server.ask(method, path, body)
    assert (answer.status, answer.json) == (200, merged)
    for nothing in ("{}", "null", '{"attributes":null,"toxicity":null}'):
        assert server.ask(method, path, nothing).json == merged


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", BAD + "EOF"),
        ('{"toxicity":"a"}', BAD + "json: cannot unmarshal string into Go struct field .toxicity of type float32"),
        (
            '{"attributes":{"jitter":"x"}}',
            BAD + "json: cannot unmarshal string into Go struct field LatencyToxic.attributes.jitter of type int64",
        ),
        (
            "[]",
            BAD + "json: cannot unmarshal array into Go value of type struct "
            '{ Attributes interface {} "json:\\"attributes\\""; Toxicity float32 "json:\\"toxicity\\"" }',
        ),
    ],
)
def test_refused_toxic_updates(server: Server, body: str, error: str) -> None:
    server.proxy(9)
    server.toxic("latency", latency=5)
    path = "/proxies/p/toxics/latency_downstream"
    before = server.ask("GET", path).json
    answer = server.ask("POST", path, body)
    assert (answer.status, answer.json["error"]) == (400, error)
    assert server.ask("GET", path).json == before
    assert server.ask("POST", "/proxies/p/toxics/none", body).status == 404


# --- data -------------------------------------------------------------------------------------------------------


def test_relays_both_ways_and_counts(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    sent = os.urandom(3_000_000)
    with connect(port) as client, upstream.accept() as accepted:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert receive(accepted, len(sent)) == sent
        writer.join()
        accepted.sendall(b"reply")
        assert receive(client, 5) == b"reply"
    labels = f'listener="127.0.0.1:{port}",proxy="p",upstream="127.0.0.1:{upstream.port}"'
    wanted = {"upstream": 3_000_000.0, "downstream": 5.0}
    for _ in range(100):
        page = server.ask("GET", "/metrics")
        counts = {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in page.body.splitlines()
            if not line.startswith("#")
        }
        got = {
            direction: counts.get(f'toxiproxy_proxy_received_bytes_total{{direction="{direction}",{labels}}}')
            for direction in wanted
        }
        if got == wanted:
            break
        time.sleep(0.05)
    assert got == wanted
    assert page.content_type is not None
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert counts[f'toxiproxy_proxy_sent_bytes_total{{direction="upstream",{labels}}}'] == 3_000_000.0


def test_a_server_that_speaks_first(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        accepted.sendall(b"welcome")
        assert receive(client, 7) == b"welcome"


def test_ipv6_and_named_upstreams(server: Server, upstream: Upstream) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.settimeout(5)
        port = server.proxy(f"[::1]:{listener.getsockname()[1]}", "p6")
        with connect(port) as client:
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"six")
                assert receive(accepted, 3) == b"six"
    port = server.proxy(f"localhost:{upstream.port}")
    with connect(port) as client, upstream.accept() as accepted:
        client.sendall(b"name")
        assert receive(accepted, 4) == b"name"


def test_a_refused_upstream_is_an_accepted_connection_that_ends(server: Server) -> None:
    with connect(server.proxy(_free_port())) as client:
        assert client.recv(1) == b""


def test_a_fin_closes_both_ways(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        client.sendall(b"last")
        client.shutdown(socket.SHUT_WR)
        assert receive(accepted, 5) == b"last"
        assert client.recv(1) == b""


@pytest.mark.parametrize("resetting", ["client", "upstream"])
def test_a_reset_reaches_the_other_end_as_eof(server: Server, upstream: Upstream, resetting: str) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        one, other = (client, accepted) if resetting == "client" else (accepted, client)
        one.sendall(b"x")
        assert other.recv(1) == b"x"
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.close()
        assert other.recv(1) == b""


def _echo(upstream: Upstream, connections: int = 1) -> None:
    def serve(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept() -> None:
        for _ in range(connections):
            threading.Thread(target=serve, args=(upstream.accept(),), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _round_trip_s(client: socket.socket) -> float:
    start = time.monotonic()
    client.sendall(b"ping")
    assert receive(client, 4) == b"ping"
    return time.monotonic() - start


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_on_an_open_connection(server: Server, upstream: Upstream, stream: str) -> None:
    port = server.proxy(upstream.port)
    _echo(upstream)
    with connect(port) as client:
        _round_trip_s(client)
        server.toxic("latency", stream, latency=150)
        assert _round_trip_s(client) >= 0.149
        server.ask("PATCH", f"/proxies/p/toxics/latency_{stream}", {"attributes": {"latency": 60}})
        assert _round_trip_s(client) >= 0.059
        server.ask("DELETE", f"/proxies/p/toxics/latency_{stream}")
        assert min(_round_trip_s(client) for _ in range(5)) < 0.06


def test_latency_is_not_cumulative_and_two_add_up(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("latency", "upstream", latency=1000)
        start = time.monotonic()
        for number in range(5):
            client.sendall(bytes([number]))
            time.sleep(0.02)
        assert receive(accepted, 5) == bytes(range(5))
        assert 1.0 <= time.monotonic() - start < 4, "five times the delay would be cumulative"
        body = {"type": "latency", "name": "more", "stream": "upstream", "attributes": {"latency": 100}}
        server.ask("POST", "/proxies/p/toxics", body)
        start = time.monotonic()
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        assert time.monotonic() - start >= 1.099


def test_removing_latency_flushes_at_once_and_in_order(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("latency", "upstream", latency=60_000)
        for number in range(20):
            client.sendall(bytes([number]) * 100)
            time.sleep(0.005)
        assert not arrives_within(accepted, 0.1)
        server.ask("DELETE", "/proxies/p/toxics/latency_upstream")
        assert receive(accepted, 2000) == b"".join(bytes([number]) * 100 for number in range(20))


def test_bandwidth(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("bandwidth", "upstream", rate=50)
        start = time.monotonic()
        client.sendall(b"x" * 100_000)
        assert len(receive(accepted, 1)) == 1
        assert time.monotonic() - start < 1.5, "in pieces, not all at the end"
        assert len(receive(accepted, 99_999)) == 99_999
        assert time.monotonic() - start >= 1.9
        client.sendall(b"y" * 1_000_000)
        server.ask("DELETE", "/proxies/p/toxics/bandwidth_upstream")
        start = time.monotonic()
        assert receive(accepted, 1_000_000) == b"y" * 1_000_000
        assert time.monotonic() - start < 10, "it would take 20 s with the toxic"


def test_bandwidth_of_nothing_holds_data(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("bandwidth", "upstream", rate=0)
        client.sendall(b"held")
        assert not arrives_within(accepted, 0.3)
        server.ask("DELETE", "/proxies/p/toxics/bandwidth_upstream")
        assert receive(accepted, 4) == b"held"


def test_timeout_drops_data_then_closes(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("timeout", "upstream", timeout=300)
        start = time.monotonic()
        for _ in range(3):
            client.sendall(b"x")
            time.sleep(0.15)
        assert accepted.recv(1) == b""
        assert time.monotonic() - start >= 0.59
        assert client.recv(1) == b""


def test_timeout_zero_holds_open_and_its_removal_closes(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        server.toxic("timeout", "upstream", timeout=0)
        client.sendall(b"x")
        assert not arrives_within(accepted, 0.3)
        server.ask("DELETE", "/proxies/p/toxics/timeout_upstream")
        assert accepted.recv(1) == b""
        assert client.recv(1) == b""


def test_a_close_passes_through_a_timeout(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    server.toxic("timeout", "upstream", timeout=0)
    client = connect(port)
    with upstream.accept() as accepted:
        client.close()
        assert accepted.recv(1) == b""


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_peer_resets_both_ends_when_data_comes(server: Server, upstream: Upstream, stream: str) -> None:
    port = server.proxy(upstream.port)
    server.toxic("reset_peer", stream, timeout=200)
    with connect(port) as client, upstream.accept() as accepted:
        time.sleep(0.3)
        start = time.monotonic()
        (client if stream == "upstream" else accepted).sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert time.monotonic() - start >= 0.199
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)


def test_slicer(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    server.toxic("slicer", "upstream", average_size=100, size_variation=20, delay=200_000)
    with connect(port) as client, upstream.accept() as accepted:
        start = time.monotonic()
        client.sendall(b"x" * 400)
        first = accepted.recv(65536)
        assert 40 <= len(first) <= 120
        receive(accepted, 400 - len(first))
        assert time.monotonic() - start >= 0.4


def test_limit_data_counts_from_when_it_was_added(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    with connect(port) as client, upstream.accept() as accepted:
        client.sendall(b"y" * 50)
        assert receive(accepted, 50) == b"y" * 50
        server.toxic("limit_data", "upstream", bytes=100)
        client.sendall(b"x" * 60)
        assert receive(accepted, 60) == b"x" * 60
        server.ask("PATCH", "/proxies/p/toxics/limit_data_upstream", {"attributes": {"bytes": 90}})
        client.sendall(b"x" * 60)
        assert receive(accepted, 60) == b"x" * 30
        assert receive(client, 1) == b""


def test_slow_close_delays_the_end_in_its_direction(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    server.toxic("slow_close", "upstream", delay=300)
    client = connect(port)
    with upstream.accept() as accepted:
        client.sendall(b"x")
        start = time.monotonic()
        client.close()
        assert receive(accepted, 2) == b"x"
        assert time.monotonic() - start >= 0.299
    server.ask("PATCH", "/proxies/p/toxics/slow_close_upstream", {"attributes": {"delay": 60_000}})
    with connect(port) as client:
        upstream.accept().close()
        assert client.recv(1) == b"", "not in the other direction"


def test_toxicity_zero_touches_nothing(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    _echo(upstream)
    server.toxic("latency", toxicity=0, latency=5_000)
    with connect(port) as client:
        assert _round_trip_s(client) < 2


def test_toxicity_is_a_matter_of_the_connection(server: Server, upstream: Upstream) -> None:
    port = server.proxy(upstream.port)
    _echo(upstream, connections=40)
    server.toxic("latency", toxicity=0.5, latency=60)
    slow = 0
    for _ in range(40):
        with connect(port) as client:
            kinds = {_round_trip_s(client) >= 0.06 for _ in range(2)}
            slow += kinds == {True}
    assert 5 <= slow <= 35
