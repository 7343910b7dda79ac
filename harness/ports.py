"""Free TCP ports on loopback that stay ours between finding them and using them."""

from __future__ import annotations

import socket


def reserve_port(host: str = "127.0.0.1") -> int:
    """A port that the kernel will not hand to anyone else for about a minute.

    The port is left in TIME_WAIT by a connection to itself: the kernel then skips it when it picks ephemeral ports,
    while a server that sets SO_REUSEADDR (all of ours do) may still bind it.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, 0))
        server.listen(1)
        address = server.getsockname()
        with socket.socket() as client:
            client.connect(address)
            accepted, _ = server.accept()
            # The side that closes first holds the TIME_WAIT, and it must be the server's port.
            accepted.close()
        return int(address[1])
