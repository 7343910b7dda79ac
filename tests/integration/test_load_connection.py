"""What one virtual user's connection puts on the wire, and makes of what comes back."""

from __future__ import annotations

import gzip
import os
import resource
import socket
import threading
import time

import gevent
import pytest
from load_servers import OK, Server, Wire, good, refused_port

from harness.load.connection import Connection, ExchangeError
from harness.load.deadlines import Deadlines
from harness.load.messages import Requests, Response

GET = Requests("shop").compose("GET", "/x")
HEAD = Requests("shop").compose("HEAD", "/x")


def connect(port: int, timeout_s: float = 2.0) -> Connection:
    return Connection(socket.AF_INET, ("127.0.0.1", port), Deadlines(timeout_s))


def get(connection: Connection, message: bytes = GET) -> tuple[int, bytes]:
    connection.exchange(message, time.monotonic_ns(), message is HEAD)
    return connection.status, connection.body


def error_of(connection: Connection, message: bytes = GET) -> str:
    with pytest.raises(ExchangeError) as caught:
        get(connection, message)
    return caught.value.word


def answer(*parts: bytes, then_close: bool = True):
    """A script that answers each request with `parts`, a packet each."""

    def script(wire: Wire, server: Server) -> None:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            server.request(wire)
            for part in parts:
                wire.send(part)
                time.sleep(0.01)
            if then_close:
                return

    return script


def test_keep_alive_reuses_one_connection():
    with Server(good) as server:
        connection = connect(server.port)
        assert [get(connection) for _ in range(5)] == [(200, b"ok")] * 5
        assert server.accepted == 1
        assert server.requests["/x"] == 5


def test_a_server_that_reads_and_closes_gets_one_request():
    def read_and_close(wire: Wire, server: Server) -> None:
        server.request(wire)

    with Server(read_and_close) as server:
        connection = connect(server.port)
        assert error_of(connection) == "reset"
        time.sleep(0.05)
        assert server.requests["/x"] == 1
        assert server.accepted == 1


def test_a_reset_is_a_reset():
    def read_and_reset(wire: Wire, server: Server) -> None:
        server.request(wire)
        wire.reset()

    with Server(read_and_reset) as server:
        assert error_of(connect(server.port)) == "reset"


def test_nobody_listening_is_a_failed_connect():
    assert error_of(connect(refused_port())) == "connect"


def test_the_timeout_covers_a_response_that_trickles():
    def trickle(wire: Wire, server: Server) -> None:
        server.request(wire)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not server.released.wait(0.02):
            wire.send(b".")

    with Server(trickle) as server:
        connection = connect(server.port, timeout_s=0.2)
        before = time.monotonic()
        assert error_of(connection) == "timeout"
        assert time.monotonic() - before >= 0.2


def test_the_connection_is_not_reused_after_a_timeout():
    def stall_once(wire: Wire, server: Server) -> None:
        server.request(wire)
        if server.accepted == 1:
            time.sleep(1.0)
            wire.send(b"HTTP/1.1 500 Too Late\r\nContent-Length: 0\r\n\r\n")
        wire.send(OK)

    with Server(stall_once) as server:
        connection = connect(server.port, timeout_s=0.5)
        assert error_of(connection) == "timeout"
        assert get(connection) == (200, b"ok")
        assert server.accepted == 2


def test_timeouts_hit_only_those_that_are_late():
    def by_order(wire: Wire, server: Server) -> None:
        _, path, _ = server.request(wire)
        if path == "/slow":
            server.released.wait(5)
        wire.send(OK)

    with Server(by_order) as server:
        deadlines = Deadlines(1.0)
        outcomes: dict[int, str] = {}

        def user(number: int) -> None:
            path = "/slow" if number % 3 == 0 else "/fast"
            connection = Connection(socket.AF_INET, ("127.0.0.1", server.port), deadlines)
            try:
                get(connection, Requests("shop").compose("GET", path))
                outcomes[number] = "ok"
            except ExchangeError as error:
                outcomes[number] = error.word

        gevent.joinall([gevent.spawn(user, number) for number in range(30)], timeout=5)
        assert outcomes == {number: "timeout" if number % 3 == 0 else "ok" for number in range(30)}


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Le",),
    ],
    ids=["body", "chunks", "headers"],
)
def test_half_an_answer_is_a_reset(parts):
    with Server(answer(*parts)) as server:
        assert error_of(connect(server.port)) == "reset"


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 hello\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 2000 OK\r\n\r\n"])
def test_garbage_is_a_protocol_error(garbage):
    with Server(answer(garbage)) as server:
        assert error_of(connect(server.port)) == "protocol"


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"),
            b"abcde",
        ),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", OK), b"ok"),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,), b"ok"),
        ((b"HT", b"TP/1.1 200 OK\r\nConte", b"nt-Length: 2\r\n\r", b"\no", b"k"), b"ok"),
    ],
    ids=["chunked", "100-continue", "early hints", "tiny packets"],
)
def test_framings_that_keep_the_connection(parts, body):
    with Server(answer(*parts, then_close=False)) as server:
        connection = connect(server.port)
        assert get(connection) == (200, body)
        assert get(connection) == (200, body)
        assert server.accepted == 1


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",),
        (b"HTTP/1.0 200 OK\r\n\r\no", b"k"),
        (b"HTTP/1.1 200 OK\r\n\r\no", b"k"),
        (OK + b"and more",),
        (OK + OK,),
    ],
    ids=["asked to close", "http 1.0", "no length", "surplus", "two answers"],
)
def test_framings_that_end_the_connection(parts):
    with Server(answer(*parts)) as server:
        connection = connect(server.port)
        assert get(connection) == (200, b"ok")
        assert get(connection) == (200, b"ok")
        assert server.accepted == 2
        assert server.requests["/x"] == 2


def test_the_beginning_of_an_answer_that_nobody_asked_for_ends_the_connection():
    with Server(answer(OK + b"HTTP/1.1 200 O", then_close=False)) as server:
        connection = connect(server.port)
        assert get(connection) == (200, b"ok")
        assert not connection.is_open
        assert get(connection) == (200, b"ok")
        assert server.accepted == 2


def test_head_has_no_body_and_keeps_the_connection():
    with Server(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", then_close=False)) as server:
        connection = connect(server.port)
        assert get(connection, HEAD) == (200, b"")
        assert get(connection, HEAD) == (200, b"")
        assert server.accepted == 1


def test_head_and_get_take_turns_on_one_connection():
    def script(wire: Wire, server: Server) -> None:
        while True:
            method, _, _ = server.request(wire)
            wire.send(OK if method == "GET" else OK.removesuffix(b"ok"))

    with Server(script) as server:
        connection = connect(server.port)
        assert [get(connection, message) for message in (HEAD, GET, GET, HEAD, GET)] == [
            (200, b""), (200, b"ok"), (200, b"ok"), (200, b""), (200, b"ok"),
        ]  # fmt: skip
        assert server.accepted == 1


@pytest.mark.parametrize("sleep", [time.sleep, gevent.sleep], ids=["hub-blocked", "hub-looks"])
def test_a_connection_the_server_closed_meanwhile_is_replaced_before_it_is_used(sleep):
    closed = threading.Event()

    def one_each(wire: Wire, server: Server) -> None:
        server.request(wire)
        wire.send(OK)
        wire.sock.close()
        closed.set()

    with Server(one_each) as server:
        connection = connect(server.port)
        for _ in range(3):
            closed.clear()
            assert get(connection) == (200, b"ok")
            assert closed.wait(2)
            sleep(0.02)
        assert server.requests["/x"] == 3


def test_an_idle_connection_that_the_server_closes_is_closed_by_the_hub():
    def script(wire: Wire, server: Server) -> None:
        server.request(wire)
        wire.send(OK)  # and close, without having said so

    with Server(script) as server:
        connection = connect(server.port)
        assert get(connection) == (200, b"ok")
        deadline_s = time.monotonic() + 10
        while connection.is_open and time.monotonic() < deadline_s:
            gevent.sleep(0.01)
        assert not connection.is_open
        assert get(connection) == (200, b"ok")
        assert server.accepted == 2


def test_a_response_that_comes_before_the_request_was_read_ends_it():
    def script(wire: Wire, server: Server) -> None:
        wire.sock.recv(10)
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        server.released.wait(10)  # and never reads on

    with Server(script) as server:
        connection = connect(server.port, timeout_s=8.0)
        big = Requests("shop").compose("POST", "/x", data=b"x" * 30_000_000)
        assert get(connection, big) == (413, b"")
        assert not connection.is_open


def test_a_large_request_to_a_slow_reader_arrives_whole():
    got: list[int] = []

    def slow_reader(wire: Wire, server: Server) -> None:
        time.sleep(0.1)
        got.append(len(server.request(wire)[2]))
        wire.send(OK)

    with Server(slow_reader) as server:
        message = Requests("shop").compose("POST", "/x", data=b"x" * 8_000_000)
        assert get(connect(server.port, 10.0), message) == (200, b"ok")
        assert got == [8_000_000]


def test_keep_alive_works_beyond_1100_open_sockets():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"needs 4096 open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    spare = [os.dup(0) for _ in range(1_000)]
    try:
        with Server(good) as server:
            connections = [connect(server.port) for _ in range(120)]
            for _ in range(2):
                assert all(get(connection) == (200, b"ok") for connection in connections)
            highest = max(connection._socket.fileno() for connection in connections)
            assert highest > 1_100
            assert server.accepted == 120
            for connection in connections:
                connection.close()
    finally:
        for descriptor in spare:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_headers_and_a_compressed_body_are_read_when_they_are_looked_at():
    packed = gzip.compress(b'{"order": 7}')
    head = b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\n"
    parts = (head, b"Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: %d\r\n\r\n" % len(packed), packed)
    with Server(answer(*parts)) as server:
        connection = connect(server.port)
        assert get(connection) == (201, packed)
        response = Response(0, 1, connection.status, "", "", connection.head, connection.body)
        assert response.nbytes == len(packed)
        assert response.json() == {"order": 7}
        assert response.headers["SET-COOKIE"] == "a, b"
