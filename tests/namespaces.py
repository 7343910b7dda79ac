"""Two hosts on one machine: network namespaces joined by a cable, and a clock that is off. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

NEAR, FAR = "10.231.77.1", "10.231.77.2"
CLOCK_OFF_S = 3
"""How far ahead CLOCK_MONOTONIC is for what `Hosts.far_off_time` starts; exact, for both share the kernel's clock."""


@dataclass(frozen=True)
class Hosts:
    """Two hosts, `NEAR` and `FAR` by their addresses; the commands that start something on them."""

    near_name: str
    far_name: str

    @property
    def near(self) -> list[str]:
        return ["ip", "netns", "exec", self.near_name]

    @property
    def far(self) -> list[str]:
        return ["ip", "netns", "exec", self.far_name]

    @property
    def far_off_time(self) -> list[str]:
        """On the far host, with its clock ahead; the process that it starts is a child of the one that is returned."""
        return [*self.far, "unshare", "-T", f"--monotonic={CLOCK_OFF_S}", "--fork", "--kill-child"]


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Make them; skips the test when this machine cannot, with the reason (`HARNESS_REQUIRE_NETNS=1`: fails it)."""
    hosts = Hosts(f"hx-near-{os.getpid()}", f"hx-far-{os.getpid()}")
    cable = f"hx{os.getpid()}"
    try:
        try:
            _do("unshare", "-T", "--monotonic=3", "--fork", "true")
            for name in (hosts.near_name, hosts.far_name):
                _do("ip", "netns", "add", name)
            _do("ip", "-n", hosts.near_name, "link", "add", cable, "type", "veth", "peer", "name", cable,
                "netns", hosts.far_name)  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            why = f"network and time namespaces cannot be made here (root is needed): {_words(error)}"
            if os.environ.get("HARNESS_REQUIRE_NETNS") == "1":
                pytest.fail(why)
            pytest.skip(why)
        for name, address in ((hosts.near_name, NEAR), (hosts.far_name, FAR)):
            _do("ip", "-n", name, "addr", "add", f"{address}/30", "dev", cable)
            _do("ip", "-n", name, "link", "set", cable, "up")
            _do("ip", "-n", name, "link", "set", "lo", "up")
        yield hosts
    finally:
        for name in (hosts.near_name, hosts.far_name):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def plug(hosts: Hosts, state: str) -> None:
    """Plug the cable in (`up`) or pull it out (`down`), at the far host."""
    cable = f"hx{hosts.near_name.rpartition('-')[2]}"
    _do("ip", "-n", hosts.far_name, "link", "set", cable, state)


def _do(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


def _words(error: Exception) -> str:
    return error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
