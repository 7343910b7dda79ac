"""The HTTP interposer between a client and an upstream of which both ends are seen byte by byte."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from harness.ports import reserve_port
from harness.probes import refused, wait_for

NOTHING = {"do": "reply", "status": 503, "share": 0.0}
ERRORS = {"do": "reply", "status": 503, "share": 1.0}
ASK = b"GET /a HTTP/1.1\r\nhOsT: x\r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\ncontent-LENGTH: 2\r\n\r\nok"
Script = Callable[[socket.socket, bytearray], None]


class Upstream:
    """Answers each of its connections by `script`; keeps what it has read, connection by connection."""

    def __init__(self, script: Script) -> None:
        self.seen: list[bytearray] = []
        self.ended = 0
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        seen = bytearray()
        self.seen.append(seen)
        with sock:
            with suppress(OSError):
                self._script(sock, seen)
            self.ended += 1


def answering(*answers: bytes, after: bytes | tuple[bytes, ...] = b"\r\n\r\n", then_close: bool = False) -> Script:
    """One answer after the other, each when what has been read since the one before ends with `after`, or its own."""

    def script(sock: socket.socket, seen: bytearray) -> None:
        for number, answer in enumerate(answers):
            at = len(seen)
            while not seen[at:].endswith(after if isinstance(after, bytes) else after[number]):
                data = sock.recv(65536)
                if not data:
                    return
                seen.extend(data)
            sock.sendall(answer)
        if not then_close:
            while data := sock.recv(65536):
                seen.extend(data)

    return script


@contextmanager
def interposed(rule: dict[str, object], script: Script, *, path: str = "/") -> Iterator[tuple[str, Upstream]]:
    """(host:port of the interposer, the upstream behind it)."""
    upstream = Upstream(script)
    listen = f"127.0.0.1:{reserve_port()}"
    spec = {"listen": listen, "upstream": upstream.address, "fault": "f", "path": path, "seed": 1, "rule": rule}
    process = subprocess.Popen([sys.executable, "-m", "harness.faults.interposer", json.dumps(spec)])
    try:
        assert wait_for(lambda: not refused(listen), timeout_s=20)
        yield listen, upstream
    finally:
        process.kill()
        process.wait()
        upstream.close()


def connect(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


CHUNKED = b"4;x=y\r\nwiki\r\n0\r\nTrailer: t\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (ASK, OK),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\n", OK),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, OK),
        (ASK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + CHUNKED),
        (ASK, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (ASK, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (b"OPTIONS * HTTP/1.1\r\nX: \xff\r\n\r\n", OK),
    ],
)
def test_what_is_not_hit_passes_unchanged_and_the_connection_goes_on(request_bytes: bytes, answer: bytes) -> None:
    script = answering(answer, OK, after=(request_bytes, ASK))
    with interposed(NOTHING, script) as (address, upstream), connect(address) as client:
        client.sendall(request_bytes)
        assert read(client, len(answer)) == answer
        client.sendall(ASK)
        assert read(client, len(OK)) == OK
        assert [bytes(seen) for seen in upstream.seen[-1:]] == [request_bytes + ASK]


def test_requests_in_one_go_are_answered_in_order() -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(5)]
    with interposed(NOTHING, answering(*answers)) as (address, _), connect(address) as client:
        client.sendall(ASK * 5)  # the upstream gets the next one when the one before has been answered
        assert read(client, 5 * len(answers[0])) == b"".join(answers)


def test_large_bodies_pass_both_ways() -> None:
    body = bytes(range(256)) * 12_000 + b"\n\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    head = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with (
        interposed(NOTHING, answering(answer, after=b"\n\n")) as (address, upstream),
        connect(address) as client,
    ):
        client.sendall(head + body)
        assert read(client, len(answer)) == answer
        assert bytes(upstream.seen[-1]) == head + body


def test_a_client_that_waits_to_be_told_to_continue_is_told() -> None:
    def script(sock: socket.socket, seen: bytearray) -> None:
        seen.extend(sock.recv(65536))
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.extend(sock.recv(65536))
        sock.sendall(OK)

    with interposed(NOTHING, script) as (address, upstream), connect(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert read(client, 25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"wiki")
        assert read(client, len(OK)) == OK
        assert upstream.seen[-1].endswith(b"\r\n\r\nwiki")


def test_an_answer_may_end_with_its_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\nall that there is"
    with interposed(NOTHING, answering(answer, then_close=True)) as (address, _), connect(address) as client:
        client.sendall(ASK)
        assert read(client, 1000) == answer


@pytest.mark.parametrize("first", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01 not HTTP at all\r\n\r\n"])
def test_what_is_no_http_passes(first: bytes) -> None:
    with interposed(ERRORS, answering(b"\0\1\2", first)) as (address, _), connect(address) as client:
        client.sendall(first)
        assert read(client, 3) == b"\0\1\2"
        client.sendall(b"\r\n\r\n")
        assert read(client, len(first)) == first


def test_a_connection_that_changes_its_protocol_passes() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    ask = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    with interposed(NOTHING, answering(switch, b"\x81\x02hi")) as (address, _), connect(address) as client:
        client.sendall(ask)
        assert read(client, len(switch)) == switch
        client.sendall(b"\x81\x02yo\r\n\r\n")
        assert read(client, 4) == b"\x81\x02hi"


def test_who_closes_closes_both_sides() -> None:
    with interposed(NOTHING, answering(OK, then_close=True)) as (address, _), connect(address) as client:
        client.sendall(ASK)
        assert read(client, 1000) == OK, "and then the end, because the upstream has closed the idle connection"
    with interposed(NOTHING, answering()) as (address, upstream):
        client = connect(address)
        client.sendall(ASK)
        assert wait_for(lambda: any(upstream.seen), timeout_s=5)
        ended = upstream.ended
        client.close()
        assert wait_for(lambda: upstream.ended > ended, timeout_s=5), "it works for nobody any more"


def test_errors_are_answered_and_the_connection_goes_on() -> None:
    with interposed(ERRORS, answering(OK), path="/a") as (address, upstream), connect(address) as client:
        for number in range(3):
            client.sendall(b"POST /a/%d HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" % number)
            status, _, rest = read(client, 12).partition(b" ")
            assert (status, rest) == (b"HTTP/1.1", b"503")
            assert b"X-Harness-Fault: f\r\n" in _rest_of_answer(client)
        client.sendall(b"GET /b HTTP/1.1\r\n\r\n")
        assert read(client, len(OK)) == OK
        client.sendall(b"GET /a HTTP/1.1\r\nX-Harness-Probe: another\r\n\r\n")
        assert wait_for(lambda: b"another" in upstream.seen[-1], timeout_s=5)
        assert b"/a/" not in upstream.seen[-1]


def test_errors_are_drawn_by_the_seed() -> None:
    def pattern() -> list[bytes]:
        rule = {"do": "reply", "status": 500, "share": 0.5}
        with interposed(rule, answering(*[OK] * 40)) as (address, _), connect(address) as client:
            found = []
            for _ in range(40):
                client.sendall(ASK)
                found.append(read(client, 12)[-3:])
                _rest_of_answer(client)
            return found

    first = pattern()
    assert pattern() == first
    assert {b"200", b"500"} == set(first)


def test_a_limit_lets_so_many_through_a_second() -> None:
    rule = {"do": "limit", "per_s": 5.0, "retry_after_s": 7}
    with interposed(rule, answering(*[OK] * 100)) as (address, _), connect(address) as client:
        started = time.monotonic()
        through = 0
        while through < 11 and time.monotonic() < started + 20:
            client.sendall(ASK)
            if read(client, 12).endswith(b"429"):
                assert b"Retry-After: 7\r\n" in _rest_of_answer(client)
            else:
                through += 1
                _rest_of_answer(client)
        assert through == 11
        assert 1.19 <= time.monotonic() - started < 4, "five at once, then one each fifth of a second"


def test_a_body_dribbles() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
    rule = {"do": "dribble", "takes_s": 0.5, "share": 1.0}
    with interposed(rule, answering(answer)) as (address, _), connect(address) as client:
        started = time.monotonic()
        client.sendall(ASK)
        pieces = []
        while len(b"".join(pieces)) < len(answer):
            pieces.append(client.recv(1000))
        assert time.monotonic() - started >= 0.45
        assert b"".join(pieces) == answer
        assert len(pieces) > 3


def _rest_of_answer(client: socket.socket) -> bytes:
    """What is left of an answer whose head has a content-length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    (length,) = (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    read(client, int(length))
    return head
