"""FastHttpUser's client does the same with less work: what it is spared is really spared, and nothing else."""

import json
import subprocess
import sys

from load_servers import OK, Server, Wire, drive, make_load, steady

PROLOGUE = """
import locust  # first of all: it patches the standard library
import json, sys
from gevent.server import StreamServer
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.url import URL
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook
from harness.load.fasthttp import LightCookieJar, send_each_request_once, spare_work

def converse(sock, _):
    # Answers with what it was sent, and sets a cookie or takes it back when the path says so.
    while head := sock.recv(4096):
        cookie = b"Set-Cookie: a=1; Path=/\\r\\n" if b"/login" in head else b""
        cookie = b"Set-Cookie: a=1; Path=/; Max-Age=0\\r\\n" if b"/logout" in head else cookie
        sock.sendall(b"HTTP/1.1 200 OK\\r\\n%sContent-Length: %d\\r\\n\\r\\n%s" % (cookie, len(head), head))

server = StreamServer(("127.0.0.1", 0), converse)
server.start()
timed = False
used = []
told = {}

def session(**options):
    return FastHttpSession(f"http://127.0.0.1:{server.server_port}", EventHook(), None, concurrency=1, **options)

def spare():
    send_each_request_once()
    spare_work(1.0, lambda: timed)
    get_socket = ConnectionPool.get_socket
    def watched(pool):
        used.append(get_socket(pool))
        return used[-1]
    ConnectionPool.get_socket = watched
"""


def run(script: str) -> dict:
    """What `script` has put into `told`; in a process of its own, because it replaces what all clients share."""
    command = [sys.executable, "-c", f"{PROLOGUE}\n{script}\nprint(json.dumps(told))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_connections_wait_without_a_timer_only_where_a_deadline_ends_them_sooner() -> None:
    told = run("""
spare()
for limit_s in (60.0, 0.5, None):
    client, seen = session(network_timeout=limit_s), []
    for timed in (True, True, False, True):
        assert client.get("/").status_code == 200
        seen.append(used[-1].timeout)
    told[str(limit_s)] = seen
told["connections"] = len(set(map(id, used)))
""")
    # A connection's first request has the timer it was made with; from then on it is as the request wants it.
    assert told == {"60.0": [60, None, 60, None], "0.5": [0.5] * 4, "None": [None] * 4, "connections": 3}


def test_cookies_come_and_go_as_with_the_standard_jar() -> None:
    told = run("""
def visit():
    client = session()
    told.setdefault("jars", []).append(type(client.cookiejar).__name__)
    paths = ("/", "/login", "/", "/", "/logout", "/")
    return ["\\r\\nCookie: a=1\\r\\n" in client.get(path).text for path in paths], len(client.cookiejar)
told["stock"] = visit()
spare()
told["spared"] = visit()
""")
    assert told["jars"] == ["CookieJar", "LightCookieJar"]
    assert told["stock"] == told["spared"] == [[False, False, True, True, True, False], 0]


def test_hosts_and_ports_are_read_as_before_but_once() -> None:
    told = run("""
texts = ["http://a", "https://a", "http://a:8080/x?y#z", "http://u:p@A.example:1/", "http://[::1]:5/", "http://[::1]",
         "//a:7/x", "/only/a/path", "", "ftp://a", "http://a:x", "http://a:99999"]

def part(url, name):
    try:
        return getattr(url, name)
    except ValueError as error:
        return str(error)

def all_parts():
    return [[part(URL(text), name) for name in ("host", "hostname", "port")] for text in texts for _ in range(2)]

before = all_parts()
calls, hostname = [], vars(URL)["hostname"].fget
URL.hostname = property(lambda url: calls.append(1) or hostname(url))
spare()
told["same"] = all_parts() == before
told["read"] = len(calls)
told["kinds"] = len({(URL(text).scheme, URL(text).netloc) for text in texts})
""")
    assert told["same"]
    assert told["read"] == told["kinds"]


def test_a_response_that_is_read_after_its_request_still_times_out(tmp_path) -> None:
    def script(wire: Wire, server: Server) -> None:
        while server.request(wire)[1] == "/page":
            wire.send(OK)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno more than the beginning")
        server.released.wait(10)

    locustfile = """
        from locust import FastHttpUser, task

        class Visitor(FastHttpUser):
            network_timeout = 1.0

            @task
            def journey(self):
                self.client.get("/page", name="page")
                for _ in self.client.get("/feed", name="feed", stream=True).iter_content():
                    pass
    """
    load = make_load(tmp_path, locustfile, steady(4, 0.5, quiet_s=2.5), users=4, timeout_s=0.5)
    with Server(script) as server:
        _, [rows] = drive(tmp_path, load, server.host)
    assert set(rows.of("page").errors) == {""}
    assert set(rows.of("feed").errors) == {"check"}  # what reading it raised
