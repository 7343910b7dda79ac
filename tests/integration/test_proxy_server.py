"""The embedded server as a process, and where it does better than the real one."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from proxy_process import COMMAND, add_proxy, address, ask, connect, start


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    running, port = start()
    yield running, port
    running.terminate()
    assert running.wait(timeout=10) == 0


@pytest.fixture
def api(process: tuple[subprocess.Popen[str], int]) -> Iterator[int]:
    yield process[1]
    for name in ask(process[1], "GET", "/proxies")[1]:
        ask(process[1], "DELETE", f"/proxies/{name}")


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.settimeout(5)
        yield listener


def fill(sock: socket.socket, size: int) -> int:
    """Send until `size` bytes are gone or nobody takes more for a second."""
    sock.settimeout(1)
    sent = 0
    block = b"x" * 65536
    try:
        while sent < size:
            sent += sock.send(block)
    except TimeoutError:
        pass
    return sent


# --- the process ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_ends_cleanly_on_a_signal(upstream: socket.socket, number: signal.Signals) -> None:
    process, port = start(stderr=subprocess.PIPE)
    with connect(add_proxy(port, address(upstream))) as client:
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert client.recv(1) == b""
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_the_verb_says_where_everything_listens_until_ctrl_c(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    config.write_text(
        '[{"name": "pg", "listen": "[::1]:0", "upstream": "db:5432"},'
        ' {"name": "off", "upstream": "b:1", "enabled": false}]'
    )
    command = [sys.executable, "-m", "harness", "toxiproxy", "--port", "0", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    api = re.fullmatch(r"Toxiproxy's API listens on http://127\.0\.0\.1:(\d+)\n", lines[0])
    assert api, lines
    shown = ask(int(api[1]), "GET", "/proxies")[1]
    assert lines[1:] == [
        "  off: disabled -> b:1\n",
        f"  pg: {shown['pg']['listen']} -> db:5432\n",
        "Ctrl-C ends it, and every connection through it.\n",
    ]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_ends_when_stdin_closes() -> None:
    process, _ = start("--until-stdin-closes", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("ignored\n")
    process.stdin.flush()
    time.sleep(0.2)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=10) == 0


def test_says_so_when_stdin_cannot_be_watched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (tmp_path / "file").open() as stdin:
        ended = subprocess.run([*COMMAND, "--until-stdin-closes"], stdin=stdin, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "needs a pipe on stdin" in ended.stderr


@pytest.mark.parametrize("command", [COMMAND, [sys.executable, "-m", "harness", "toxiproxy", "--port", "0"]])
def test_a_taken_port_is_reported(command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run([*command[:-1], str(port)], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "address already in use" in ended.stderr
    assert f"something else on port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_starts_with_the_proxies_of_a_file(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    config.write_text('[{"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]')
    process, port = start("--config", str(config))
    try:
        assert list(ask(port, "GET", "/proxies")[1]) == ["a"]
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_a_bad_file_is_reported(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for content, wanted in (
            ('[{"name": "a"}]', ":1: upstream: is missing"),
            (
                '[{"name": "a", "listen": "127.0.0.1:0", "upstream": "b:1"},\n'
                f'{{"name": "b", "listen": "{address(taken)}", "upstream": "b:1"}}]',
                ":2: listen: `b` cannot listen",
            ),
        ):
            config.write_text(content)
            ended = subprocess.run([*COMMAND, "--config", str(config)], capture_output=True, text=True)
            assert ended.returncode == 2
            assert f"proxies.json{wanted}" in ended.stderr
            assert "Traceback" not in ended.stderr


# --- better than the real one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "attributes", "reason"),
    [
        ("bandwidth", {"rate": -1}, "rate must not be negative, got -1"),
        ("slicer", {}, "average_size must be at least 1, got 0"),
        ("slicer", {"average_size": -5}, "average_size must be at least 1, got -5"),
        ("slicer", {"average_size": 5, "size_variation": 6}, "size_variation must not exceed average_size 5, got 6"),
        ("slicer", {"average_size": 5, "size_variation": -5}, "must be at least 1"),
        ("latency", {"jitter": 2**62}, "jitter must be below"),
    ],
)
def test_settings_that_crash_the_real_one_are_refused(
    api: int, type: str, attributes: dict[str, int], reason: str
) -> None:
    add_proxy(api, "127.0.0.1:9")
    status, answer = ask(api, "POST", "/proxies/p/toxics", {"type": type, "attributes": attributes})
    assert (status, answer["status"]) == (400, 400)
    assert reason in answer["error"]
    fine = {"average_size": 9} if type == "slicer" else {}
    ask(api, "POST", "/proxies/p/toxics", {"type": type, "attributes": fine})
    before = ask(api, "GET", f"/proxies/p/toxics/{type}_downstream")[1]
    worse = attributes or {"average_size": 0}
    assert ask(api, "PATCH", f"/proxies/p/toxics/{type}_downstream", {"attributes": worse})[0] == 400
    assert ask(api, "GET", f"/proxies/p/toxics/{type}_downstream")[1] == before


@pytest.mark.parametrize(
    ("type", "attributes"),
    [
        ("latency", {"latency": 2**63 - 1, "jitter": 2**62 - 1}),
        ("latency", {"latency": -(2**63)}),
        ("bandwidth", {"rate": 2**63 - 1}),
        ("slow_close", {"delay": 2**63 - 1}),
        ("timeout", {"timeout": 2**63 - 1}),
        ("reset_peer", {"timeout": 2**63 - 1}),
        ("slicer", {"average_size": 2**63 - 1, "size_variation": 2**63 - 1, "delay": 2**63 - 1}),
        ("limit_data", {"bytes": 2**63 - 1}),
        ("limit_data", {"bytes": -(2**63)}),
    ],
)
def test_extreme_settings_do_no_harm(api: int, upstream: socket.socket, type: str, attributes: dict[str, int]) -> None:
    port = add_proxy(api, address(upstream))
    assert (
        ask(api, "POST", "/proxies/p/toxics", {"type": type, "stream": "upstream", "attributes": attributes})[0] == 200
    )
    with connect(port) as client:
        client.sendall(b"x" * 1000)
        time.sleep(0.05)
    assert ask(api, "DELETE", f"/proxies/p/toxics/{type}_upstream")[0] == 204
    with connect(port) as client:
        accepted, _ = upstream.accept()
        accepted.close()
        accepted, _ = upstream.accept()
        with accepted:
            client.sendall(b"alive")
            accepted.settimeout(5)
            assert accepted.recv(5) == b"alive"


def test_an_upstream_that_does_not_answer_blocks_nobody(api: int, upstream: socket.socket) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    # a full backlog: the kernel drops further SYNs, so a dial hangs
    waiting = [socket.socket() for _ in range(4)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    stuck_port = add_proxy(api, address(full), "stuck")
    stuck = [connect(stuck_port) for _ in range(10)]
    port = add_proxy(api, address(upstream))
    start_s = time.monotonic()
    with connect(port) as client:
        accepted, _ = upstream.accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
    assert ask(api, "PATCH", "/proxies/stuck", {"enabled": False})[0] == 200
    for sock in stuck:
        assert sock.recv(1) == b""
        sock.close()
    assert time.monotonic() - start_s < 5
    for sock in (*waiting, full):
        sock.close()


@pytest.mark.parametrize(
    ("stream", "toxic", "attributes"),
    [
        ("upstream", None, {}),
        ("downstream", None, {}),
        ("upstream", "noop", {}),
        ("upstream", "latency", {"latency": 50}),
        ("downstream", "latency", {"latency": 50}),
        ("upstream", "bandwidth", {"rate": 10_000_000}),
        ("upstream", "slicer", {"average_size": 1000}),
        ("upstream", "slicer", {"average_size": 1}),
    ],
)
def test_a_slow_reader_does_not_grow_memory_and_loses_nothing(
    process: tuple[subprocess.Popen[str], int],
    api: int,
    upstream: socket.socket,
    stream: str,
    toxic: str | None,
    attributes: dict[str, int],
) -> None:
    port = add_proxy(api, address(upstream))
    if toxic is not None:
        body = {"name": "t", "type": toxic, "stream": stream, "attributes": attributes}
        assert ask(api, "POST", "/proxies/p/toxics", body)[0] == 200
    before = psutil.Process(process[0].pid).memory_info().rss
    with connect(port) as client, upstream.accept()[0] as accepted:
        sender, reader = (client, accepted) if stream == "upstream" else (accepted, client)
        sent = fill(sender, 200_000_000)
        assert sent < 100_000_000
        assert psutil.Process(process[0].pid).memory_info().rss - before < 40_000_000
        if toxic is not None:
            assert ask(api, "DELETE", "/proxies/p/toxics/t")[0] == 204
        reader.settimeout(5)
        got = 0
        while got < sent:
            got += len(reader.recv(1 << 20))
        assert got == sent


def test_toxics_change_while_a_client_does_not_read(api: int, upstream: socket.socket) -> None:
    port = add_proxy(api, address(upstream))
    with connect(port) as client:
        accepted, _ = upstream.accept()
        with accepted:
            path = "/proxies/p/toxics"
            ask(api, "POST", path, {"type": "latency", "stream": "upstream", "attributes": {"latency": 10}})
            sent = fill(client, 50_000_000)
            for latency in (20, 30):
                assert ask(api, "PATCH", f"{path}/latency_upstream", {"attributes": {"latency": latency}})[0] == 200
            assert (
                ask(api, "POST", path, {"type": "slicer", "stream": "upstream", "attributes": {"average_size": 900}})[0]
                == 200
            )
            assert ask(api, "DELETE", f"{path}/latency_upstream")[0] == 204
            assert ask(api, "DELETE", f"{path}/slicer_upstream")[0] == 204
            accepted.settimeout(5)
            got = 0
            while got < sent:
                got += len(accepted.recv(1 << 20))
            assert got == sent


def test_toxics_come_and_go_under_traffic_without_loss(api: int, upstream: socket.socket) -> None:
    port = add_proxy(api, address(upstream))
    data = os.urandom(1 << 20) * 12
    received = bytearray()
    with connect(port) as client:
        accepted, _ = upstream.accept()
        accepted.settimeout(20)

        def read() -> None:
            while part := accepted.recv(1 << 18):
                received.extend(part)

        def write() -> None:
            for offset in range(0, len(data), 30_000):
                client.sendall(data[offset : offset + 30_000])
                time.sleep(0.002)

        threads = [threading.Thread(target=read), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        path = "/proxies/p/toxics"
        toxics = [
            ("latency", {"latency": 5, "jitter": 4}),
            ("slicer", {"average_size": 700, "size_variation": 300, "delay": 10}),
            ("bandwidth", {"rate": 50_000}),
            ("limit_data", {"bytes": 1 << 40}),
            ("slow_close", {"delay": 1}),
        ]
        while threads[1].is_alive():
            for kind, attributes in toxics:
                body = {"type": kind, "stream": "upstream", "attributes": attributes}
                assert ask(api, "POST", path, body)[0] == 200
            assert (
                ask(api, "PATCH", f"{path}/latency_upstream", {"attributes": {"latency": 3}, "toxicity": 0})[0] == 200
            )
            assert ask(api, "PATCH", f"{path}/latency_upstream", {"toxicity": 1})[0] == 200
            for kind, _ in toxics[::-1]:
                assert ask(api, "DELETE", f"{path}/{kind}_upstream")[0] == 204
        threads[1].join()
        client.shutdown(socket.SHUT_WR)
        threads[0].join()
        accepted.close()
    assert received == data


def test_reset_peer_resets_a_connection_that_was_open_before(api: int, upstream: socket.socket) -> None:
    port = add_proxy(api, address(upstream))
    with connect(port) as client:
        accepted, _ = upstream.accept()
        with accepted:
            ask(api, "POST", "/proxies/p/toxics", {"type": "reset_peer", "stream": "upstream"})
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            accepted.settimeout(5)
            with pytest.raises(ConnectionResetError):
                accepted.recv(1)


def test_counts_are_live(api: int, upstream: socket.socket) -> None:
    port = add_proxy(api, address(upstream))
    with connect(port) as client:
        accepted, _ = upstream.accept()
        with accepted:
            client.sendall(b"12345")
            assert accepted.recv(5) == b"12345"
            ask(api, "POST", "/proxies/p/toxics", {"type": "timeout", "stream": "upstream"})
            client.sendall(b"dropped")
            time.sleep(0.1)
            connection = http.client.HTTPConnection("127.0.0.1", api, timeout=10)
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
            connection.close()
    labels = f'{{direction="upstream",listener="127.0.0.1:{port}",proxy="p",upstream="{address(upstream)}"}}'
    assert f"toxiproxy_proxy_received_bytes_total{labels} 12\n" in page
    assert f"toxiproxy_proxy_sent_bytes_total{labels} 5\n" in page


def test_closed_connections_leave_nothing_behind(
    process: tuple[subprocess.Popen[str], int], api: int, upstream: socket.socket
) -> None:
    port = add_proxy(api, address(upstream))
    ask(api, "POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"latency": 3_600_000}})
    before = psutil.Process(process[0].pid).num_fds()
    for _ in range(50):
        with connect(port):
            accepted, _ = upstream.accept()
            with accepted:
                accepted.sendall(b"x" * 1000)
    ask(api, "PATCH", "/proxies/p", {"enabled": False})
    deadline_s = time.monotonic() + 5
    while psutil.Process(process[0].pid).num_fds() >= before and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert psutil.Process(process[0].pid).num_fds() < before


def test_a_body_without_end_is_cut_off(api: int) -> None:
    with connect(api) as sock:
        sock.sendall(b"POST /proxies HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        fill(sock, 9 * 1024 * 1024)
        assert sock.recv(12) == b"HTTP/1.1 413"
