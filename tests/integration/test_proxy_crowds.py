"""The embedded server with many connections, with too few file descriptors, and with clients that give up."""

from __future__ import annotations

import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest
from proxy_process import add_proxy, address, ask, connect, start

CROWD = 2000


@pytest.fixture
def files() -> Iterator[int]:
    """As many file descriptors for this process as it may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A server that sends back what it gets, over any number of connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, select.epoll() as poll, ExitStack() as stack:
        accepted: dict[int, socket.socket] = {}
        stop = threading.Event()

        def serve() -> None:
            poll.register(listener, select.EPOLLIN)
            while not stop.is_set():
                for fd, _ in poll.poll(0.1):
                    if fd == listener.fileno():
                        sock = stack.enter_context(listener.accept()[0])
                        accepted[sock.fileno()] = sock
                        poll.register(sock, select.EPOLLIN)
                    elif data := accepted[fd].recv(65536):
                        accepted[fd].sendall(data)
                    else:
                        poll.unregister(fd)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener
        stop.set()
        thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def exchange(clients: list[socket.socket]) -> None:
    """Everybody sends a word of their own, then everybody gets it back."""
    for number, client in enumerate(clients):
        client.sendall(b"%08d" % number)
    for number, client in enumerate(clients):
        client.settimeout(20)
        assert client.recv(8, socket.MSG_WAITALL) == b"%08d" % number


def test_2000_connections_at_once(files: int, echo: socket.socket) -> None:
    if files < 2 * CROWD + 200:
        pytest.skip(
            f"both ends of {CROWD} connections need {2 * CROWD + 200} file descriptors, this shell may have {files}"
        )
    running, api = start()
    process = psutil.Process(running.pid)
    try:
        port = add_proxy(api, address(echo))
        fds, rss = process.num_fds(), process.memory_info().rss
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(port)) for _ in range(CROWD)]
            exchange(clients)
            assert process.num_fds() >= 2 * CROWD
            assert process.memory_info().rss - rss < CROWD * 40_000
            toxic = {"type": "latency", "attributes": {"latency": 300}}
            assert ask(api, "POST", "/proxies/p/toxics", toxic)[0] == 200
            start_s = time.monotonic()
            exchange(clients)
            assert time.monotonic() - start_s >= 0.299
            assert ask(api, "DELETE", "/proxies/p/toxics/latency_downstream")[0] == 204
            exchange(clients)
        wait_until(lambda: process.num_fds() <= fds)
    finally:
        running.terminate()
        assert running.wait(timeout=10) == 0


def test_out_of_file_descriptors_the_api_still_answers(echo: socket.socket) -> None:
    limited = (300, 300)
    running, api = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limited))
    try:
        port = add_proxy(api, address(echo))
        clients = [connect(port) for _ in range(400)]
        wait_until(lambda: psutil.Process(running.pid).num_fds() > 200)
        for _ in range(20):
            assert ask(api, "GET", "/version")[0] == 200
        assert ask(api, "PATCH", "/proxies/p", {"enabled": False})[0] == 200
        for client in clients:
            client.close()
        assert ask(api, "PATCH", "/proxies/p", {"enabled": True})[0] == 200
        with connect(port) as client:
            exchange([client])
    finally:
        running.terminate()
        assert running.wait(timeout=10) == 0


def test_clients_that_give_up_on_a_silent_upstream_leave_nothing_behind() -> None:
    running, api = start()
    process = psutil.Process(running.pid)
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # a full backlog: the kernel drops further SYNs, so a dial hangs
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        try:
            port = add_proxy(api, address(full))
            fds = process.num_fds()
            clients = [connect(port) for _ in range(50)]
            patient = stack.enter_context(connect(port))
            wait_until(lambda: process.num_fds() > fds + 100)  # the API's last connection may only now have gone
            for client in clients:
                client.sendall(b"anybody there?")
                client.close()
            wait_until(lambda: process.num_fds() <= fds + 2)
            patient.settimeout(0.01)
            with pytest.raises(TimeoutError):
                patient.recv(1)
        finally:
            running.terminate()
            assert running.wait(timeout=10) == 0
