"""The management port: `/metrics`, `/readyz` and `/healthz`, answered even when every request thread is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer

Page = Callable[[], tuple[int, bytes]]
LOOPBACK = "127.0.0.1"


class ManagementServer(ThreadingTCPServer):
    """Serves pages from threads of its own, until the process ends; to this machine only, unless `host` says more."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, pages: Mapping[str, Page], host: str = LOOPBACK) -> None:
        self.pages = pages
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self.serve_forever, name="management", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    def do_GET(self) -> None:
        assert isinstance(self.server, ManagementServer)
        page = self.server.pages.get(self.path)
        status, body = page() if page else (404, b"not found\n")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a line per scrape would bury the lines that matter."""
