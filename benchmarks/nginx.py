"""The server that all generators are measured against: an nginx on loopback that answers 200 and counts requests."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from harness.ports import reserve_port

_MAX_LIFE_S: Final = 3600  # should the benchmark be killed, nginx does not outlive it for ever
_START_TIMEOUT_S: Final = 10.0
_CONFIG: Final = """\
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  server {{
    listen 127.0.0.1:{port} reuseport backlog=4096;
    location / {{ default_type text/plain; return 200 "ok\\n"; }}
    location = /status {{ stub_status; }}
  }}
}}
"""


class MissingProgramError(Exception):
    """A program that a benchmark needs is not installed; the text says how to get it."""


class Nginx:
    """A private nginx with its files in `folder`, from `with` to the end of it; `url` is where it listens.

    Raises `MissingProgramError` when there is no nginx.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise MissingProgramError("nginx is not installed: apt install nginx-light (Debian, Ubuntu)")
        self._program = program
        self._folder = folder
        self._asked = 0
        self.url = ""

    def __enter__(self) -> Nginx:
        self._folder.mkdir()
        port = reserve_port()
        config = self._folder / "nginx.conf"
        config.write_text(_CONFIG.format(port=port))
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            ["timeout", str(_MAX_LIFE_S), self._program, "-p", str(self._folder), "-c", str(config)],
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            with suppress(URLError):
                self.requests()
                return self
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self._process.kill()
                raise RuntimeError(f"nginx did not start:\n{(self._folder / 'error.log').read_text()}")
            time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def requests(self) -> int:
        """How many requests have reached nginx, by its own count; calls of this method are left out."""
        with urlopen(f"{self.url}/status", timeout=5) as response:
            self._asked += 1
            return int(response.read().split(b"\n")[2].split()[2]) - self._asked
