"""Addresses as Go's `net` package takes them: `host:port` texts, resolving, binding, and its error texts."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import threading
from dataclasses import dataclass

BACKLOG = 4096


class AddressError(ValueError):
    """An address cannot be read, resolved or bound; the text is Go's."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port; an empty `host` means every address of the machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_host_port(address: str) -> tuple[str, str]:
    """Host (without brackets) and port of `host:port`, both as texts. Raises AddressError."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise AddressError(f"address {address}: missing port in address")
    if address.startswith("["):
        inside, bracket, after = address[1:].partition("]")
        if not bracket:
            raise AddressError(f"address {address}: missing ']' in address")
        if not after:
            raise AddressError(f"address {address}: missing port in address")
        if not after.startswith(":") or ":" in after[1:]:
            problem = "too many colons in address" if after.startswith(":") else "missing port in address"
            raise AddressError(f"address {address}: {problem}")
        return inside, after[1:]
    if ":" in host:
        raise AddressError(f"address {address}: too many colons in address")
    for bracket in "[]":
        if bracket in address:
            raise AddressError(f"address {address}: unexpected '{bracket}' in address")
    return host, port


def port_number(port: str) -> int:
    """A port by number or by service name; empty is 0. Raises AddressError."""
    digits = port[1:] if port[:1] in ("+", "-") else port
    if not digits:
        return 0
    if digits.isascii() and digits.isdigit():
        if port.startswith("-") or int(digits) > 65535:
            raise AddressError(f"address {port}: invalid port")
        return int(digits)
    try:
        return socket.getservbyname(port, "tcp")
    except OSError:
        raise AddressError(f"lookup tcp/{port}: unknown port") from None


async def resolve(address: str) -> Address:
    """The one address a listener on `address` gets: IPv4 is preferred. Raises AddressError."""
    if not address:
        return Address("", 0)
    host, port = split_host_port(address)
    number = port_number(port)
    if not host or is_ip(host):
        return Address(host, number)
    return Address((await lookup(host))[0], number)


async def lookup(host: str) -> list[str]:
    """The IP addresses of a host name, IPv4 first. Raises AddressError."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str]) -> None:
        if not answer.done():
            answer.set_result(found)

    def look_up() -> None:
        found = _addresses(host)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found)

    # The loop's own look-ups share four threads, which one name server that hangs would take from all proxies, and an
    # end of the process waits for them; a daemon thread holds up nobody.
    threading.Thread(target=look_up, daemon=True).start()
    found = await answer
    if not found:
        raise AddressError(f"lookup {host}: no such host")
    return found


def is_ip(host: str) -> bool:
    """Whether `host` is an IP address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def listen(address: Address) -> socket.socket:
    """A listening, non-blocking socket; a wildcard takes IPv6 and IPv4 alike. Raises AddressError."""
    wildcard = address.host in ("", "0.0.0.0", "::")
    if not wildcard:
        return _bound(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address.host, address)
    if socket.has_dualstack_ipv6():
        return _bound(socket.AF_INET6, "::", address)
    return _bound(socket.AF_INET, "0.0.0.0", address)


def bound_to(listener: socket.socket) -> str:
    """The `host:port` a listener really has."""
    host, port = listener.getsockname()[:2]
    return str(Address(host, port))


def _addresses(host: str) -> list[str]:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    found = dict.fromkeys((info[0] != socket.AF_INET, str(info[4][0])) for info in infos)
    return [ip for _, ip in sorted(found, key=lambda item: item[0])]


def _bound(family: socket.AddressFamily, host: str, address: Address) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise AddressError(f"listen tcp {address}: bind: {reason}") from None
    listener.setblocking(False)
    return listener
