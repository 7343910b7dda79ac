from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from harness.proxy.address import Address, AddressError, bound_to, listen, port_number, resolve, split_host_port


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", "80")),
        ("[::1]:80", ("::1", "80")),
        (":80", ("", "80")),
        ("host:", ("host", "")),
        ("host:http", ("host", "http")),
    ],
)
def test_split(text: str, parts: tuple[str, str]) -> None:
    assert split_host_port(text) == parts


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("host", "missing port in address"),
        ("", "missing port in address"),
        ("::1:80", "too many colons in address"),
        ("[::1:80", "missing ']' in address"),
        ("[::1]", "missing port in address"),
        ("[::1]80", "missing port in address"),
        ("[::1]:80:90", "too many colons in address"),
        ("ho[st:80", "unexpected '[' in address"),
        ("ho]st:80", "unexpected ']' in address"),
    ],
)
def test_split_refuses(text: str, problem: str) -> None:
    with pytest.raises(AddressError) as caught:
        split_host_port(text)
    assert str(caught.value) == f"address {text}: {problem}"


def test_ports() -> None:
    assert [port_number(port) for port in ("", "0", "+80", "65535", "http")] == [0, 0, 80, 65535, 80]
    for port in ("65536", "-1", "nosuchport", "٣"):
        with pytest.raises(AddressError):
            port_number(port)


def test_resolving_an_ip_needs_no_lookup_and_a_name_prefers_ipv4() -> None:
    assert asyncio.run(resolve("[::1]:5")) == Address("::1", 5)
    assert asyncio.run(resolve("")) == Address("", 0)
    assert asyncio.run(resolve("localhost:5")) == Address("127.0.0.1", 5)


def test_listening() -> None:
    with contextlib.closing(listen(Address("127.0.0.1", 0))) as first:
        assert bound_to(first).startswith("127.0.0.1:")
        port = first.getsockname()[1]
        with pytest.raises(AddressError, match=rf"^listen tcp 127\.0\.0\.1:{port}: bind: address already in use$"):
            listen(Address("127.0.0.1", port))
    with contextlib.closing(listen(Address("0.0.0.0", 0))) as wildcard:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        assert wildcard.family == family
