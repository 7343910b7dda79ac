"""Upstreams and a name server that never answer, in a network of the test's own: nobody else has to wait for them.

The module runs itself there as a script, which tells as JSON what it saw.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from proxy_process import add_proxy, address, ask, connect, start

NOWHERE = "192.0.2.99"
"""An address of the documentation's network, at the end of a cable where nobody is."""

NAMES = 12
"""Proxies whose upstream's name is never resolved: more than an event loop has threads for look-ups."""

ALONE = ["unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]
CABLE = "ip link add hole type veth peer name end"
NETWORK = (
    "ip link set lo up",
    CABLE,
    "ip addr add 192.0.2.1/24 dev hole",
    "ip link set hole up",
    "ip link set end up",
    f"ip neigh add {NOWHERE} lladdr 02:00:00:00:00:01 dev hole",
)


def test_silent_upstreams_and_name_servers_hold_up_nobody() -> None:
    can = subprocess.run([*ALONE, *CABLE.split()], capture_output=True, text=True)
    if can.returncode != 0:
        why = f"a network of its own cannot be made here: {can.stderr.strip()}"
        if os.environ.get("HARNESS_REQUIRE_NETNS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [*ALONE, sys.executable, __file__], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["still_dialling"] == NAMES + 20
    assert told["slowest_s"] < 4, "resolvers give up after 5 s, dials after two minutes"


def alone() -> None:
    """The script: clients of silent upstreams wait, everybody else is served."""
    for command in NETWORK:
        subprocess.run(command.split(), check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write(f"nameserver {NOWHERE}\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, os.path.realpath("/etc/resolv.conf")], check=True)
        process, api = start()
        try:
            print(json.dumps(serve_others(api)))
        finally:
            process.terminate()
            process.wait(timeout=3)


def serve_others(api: int) -> dict[str, float]:
    """How long the slowest step took while clients wait for what never answers, and how many of them still do."""
    waiting = [connect(add_proxy(api, f"name{number}.example:80", f"name{number}")) for number in range(NAMES)]
    silent = add_proxy(api, f"{NOWHERE}:80", "silent")
    waiting += [connect(silent) for _ in range(20)]
    slowest_s = 0.0
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        for number in range(5):
            start_s = time.monotonic()
            port = add_proxy(api, f"localhost:{upstream.getsockname()[1]}", f"fine{number}")
            with connect(port) as client, upstream.accept()[0] as accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"
            toxic = {"type": "latency", "attributes": {"latency": 1}}
            assert ask(api, "POST", "/proxies/silent/toxics", toxic)[0] == 200
            assert ask(api, "DELETE", "/proxies/silent/toxics/latency_downstream")[0] == 204
            listening = {"name": f"named{number}", "listen": "localhost:0", "upstream": address(upstream)}
            assert ask(api, "POST", "/proxies", listening)[0] == 201
            slowest_s = max(slowest_s, time.monotonic() - start_s)
    still = 0
    for client in waiting:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            still += 1
    return {"slowest_s": slowest_s, "still_dialling": still}


if __name__ == "__main__":
    alone()
