"""What stands between the client and Valkey in `proxy.py`: nothing, this proxy, the Go Toxiproxy, HAProxy."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import psutil

from harness.ports import reserve_port
from harness.stack import valkey

GO_MODULE: Final = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
_START_TIMEOUT_S: Final = 10.0
_HAPROXY: Final = """\
global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen valkey
  bind 127.0.0.1:{port}
  server valkey 127.0.0.1:{upstream}
"""


class MissingProgramError(Exception):
    """A program that the comparison needs is not installed; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Listens on `port`; `process` is None when nothing stands between, `api` the port of Toxiproxy's API, if any."""

    port: int
    process: psutil.Process | None = None
    api: int | None = None

    def cpu_s(self) -> float:
        """Processor time so far, user and system."""
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @contextmanager
    def latency(self, delay_ms: int) -> Iterator[None]:
        """With a latency toxic on what comes back."""
        toxics = "/proxies/valkey/toxics"
        _ask(self.api, "POST", toxics, {"name": "slow", "type": "latency", "attributes": {"latency": delay_ms}})
        yield
        _ask(self.api, "DELETE", f"{toxics}/slow")


@contextmanager
def valkey_server(folder: Path) -> Iterator[int]:
    """The Valkey that all relays lead to; gives its port."""
    port = reserve_port()
    (folder / "logs").mkdir()
    command = valkey.prepare("valkey", port, folder, folder / "logs", None)
    with _process(command.argv, port):
        yield port


@contextmanager
def direct(upstream: int, _folder: Path) -> Iterator[Relay]:
    """Nothing between."""
    yield Relay(upstream)


@contextmanager
def ours(upstream: int, _folder: Path) -> Iterator[Relay]:
    """The embedded proxy, as a run starts it."""
    api = reserve_port()
    with _toxiproxy((sys.executable, "-m", "harness.proxy", "--port", str(api)), api, upstream) as relay:
        yield relay


def go(server: str) -> Callable[[int, Path], Iterator[Relay]]:
    """The real Toxiproxy, whose program is `server`."""

    @contextmanager
    def relay(upstream: int, _folder: Path) -> Iterator[Relay]:
        api = reserve_port()
        with _toxiproxy((server, "-host", "127.0.0.1", "-port", str(api)), api, upstream) as started:
            yield started

    return relay


@contextmanager
def haproxy(upstream: int, folder: Path) -> Iterator[Relay]:
    """HAProxy with one thread, which knows no toxics."""
    port = reserve_port()
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(port=port, upstream=upstream))
    with _process((find_haproxy() or "haproxy", "-db", "-f", str(config)), port) as process:
        yield Relay(port, process)


def find_haproxy() -> str | None:
    """The program, if there is one."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


def find_go_server(folder: Path) -> str:
    """The real Toxiproxy: TOXIPROXY_SERVER, one on the PATH, or made by Go in `folder`. Raises MissingProgramError."""
    found = os.environ.get("TOXIPROXY_SERVER") or shutil.which("toxiproxy-server")
    if found:
        return found
    if shutil.which("go") is None:
        raise MissingProgramError(
            "the comparison needs the real Toxiproxy: put toxiproxy-server on the PATH, name it in TOXIPROXY_SERVER, "
            "or install Go"
        )
    print(f"go install {GO_MODULE}", file=sys.stderr, flush=True)
    subprocess.run(["go", "install", GO_MODULE], env={**os.environ, "GOBIN": str(folder)}, check=True)
    return str(folder / "server")


@contextmanager
def _toxiproxy(argv: Sequence[str], api: int, upstream: int) -> Iterator[Relay]:
    with _process(argv, api) as process:
        proxy = {"name": "valkey", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream}"}
        listen = _ask(api, "POST", "/proxies", proxy)["listen"]
        yield Relay(int(listen.rpartition(":")[2]), process, api)


@contextmanager
def _process(argv: Sequence[str], port: int) -> Iterator[psutil.Process]:
    """A server that listens on `port`, from `with` to its end."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"{argv[0]} did not start")
            time.sleep(0.02)
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ask(api: int | None, method: str, path: str, body: object = None) -> dict[str, str]:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"http://127.0.0.1:{api}{path}", data, method=method), timeout=5) as response:
        return dict(json.loads(response.read() or b"{}"))
