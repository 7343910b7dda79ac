"""A client for benchmarks: GETs one key over several connections, and writes how long each answer took.

    python benchmarks/redis_client.py PORT --connections 20 --seconds 3 > times
    python benchmarks/redis_client.py PORT --connections 20 --seconds 3 --rate 2000 > times

Closed without `--rate`: every connection asks again as soon as it has its answer. With `--rate` the requests go out at
their instants, whatever the answers do. Times are nanoseconds since the sending, little-endian 64 bit, in the order of
the answers. One thread and raw sockets, so that it takes less processor time than what it measures.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import socket
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from time import monotonic_ns

_VALUE = b"x" * 32
_SET = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$32\r\n" + _VALUE + b"\r\n"
_GET = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
_ANSWER = b"$32\r\n" + _VALUE + b"\r\n"


def main() -> int:
    """Ask for as long as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, help="requests per second in all (default: as fast as it goes)")
    options = parser.parse_args()
    sockets = [_connect(options.port) for _ in range(options.connections)]
    gc.disable()
    length_ns = int(options.seconds * 1e9)
    times = _closed(sockets, length_ns) if options.rate is None else _paced(sockets, length_ns, options.rate)
    times.tofile(sys.stdout.buffer)
    return 0


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_SET)
    if sock.recv(5, socket.MSG_WAITALL) != b"+OK\r\n":
        raise ConnectionError("the server does not take SET")
    return sock


def _closed(sockets: Sequence[socket.socket], length_ns: int) -> array[int]:
    size = len(_ANSWER)
    asked = {sock.fileno(): 0 for sock in sockets}
    missing = dict.fromkeys(asked, size)
    poller = select.epoll()
    for fd in asked:
        poller.register(fd, select.EPOLLIN)
    times: array[int] = array("q")
    end_ns = monotonic_ns() + length_ns
    for fd in asked:
        asked[fd] = monotonic_ns()
        os.write(fd, _GET)
    while asked:
        for fd, _ in poller.poll():
            got = len(os.read(fd, size))
            missing[fd] -= got
            if missing[fd]:
                if not got:
                    raise ConnectionError("the connection was closed")
                continue
            now_ns = monotonic_ns()
            times.append(now_ns - asked[fd])
            if now_ns < end_ns:
                missing[fd] = size
                asked[fd] = now_ns
                os.write(fd, _GET)
            else:
                del asked[fd]
    return times


def _paced(sockets: Sequence[socket.socket], length_ns: int, rate: float) -> array[int]:
    size = len(_ANSWER)
    fds = [sock.fileno() for sock in sockets]
    asked: dict[int, deque[int]] = {fd: deque() for fd in fds}
    surplus = dict.fromkeys(fds, 0)
    times: array[int] = array("q")
    count, sent = int(rate * length_ns / 1e9), 0
    start_ns = monotonic_ns()
    while len(times) < count:
        wait_s = start_ns / 1e9 + sent / rate - monotonic_ns() / 1e9 if sent < count else None
        if wait_s is not None and wait_s <= 0:
            fd = fds[sent % len(fds)]
            sent += 1
            asked[fd].append(monotonic_ns())
            os.write(fd, _GET)
            continue
        for fd in select.select(fds, (), (), wait_s)[0]:  # to the microsecond, where epoll counts milliseconds
            got = len(os.read(fd, 65536))
            if not got:
                raise ConnectionError("the connection was closed")
            now_ns = monotonic_ns()
            answers, surplus[fd] = divmod(surplus[fd] + got, size)
            times.extend(now_ns - asked[fd].popleft() for _ in range(answers))
    return times


if __name__ == "__main__":
    sys.exit(main())
