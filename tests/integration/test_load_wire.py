"""One arrival is one request on the wire, with each of the three clients, whatever the server does to it."""

from __future__ import annotations

import gzip
import resource
from collections import Counter

import numpy as np
import pytest
from load_servers import OK, Server, Wire, drive, make_load, planned_ns, respond, steady

KINDS = {"own": "OpenHttpUser", "stock": "HttpUser", "fast": "FastHttpUser"}

PATHS = {
    "closes": "reset",
    "stalls": "timeout",
    "trickles": "timeout",
    "half": "reset",
    "halfchunked": "reset",
    "garbage": "protocol",
    "refused": "http_5xx",
    "chunked": "",
    "zipped": "",
    "continued": "",
    "moved": "",
}

ZIPPED = gzip.compress(b"the whole story" * 40)
WORDS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
ANSWERS = {
    "half": WORDS + b"Content-Length: 10\r\n\r\nhalf",
    "halfchunked": WORDS + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "garbage": b"220 mail.example ESMTP\r\n",
    "refused": respond(503),
    "chunked": WORDS + b"Transfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n1\r\ne\r\n0\r\n\r\n",
    "zipped": WORDS + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
    "continued": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "moved": b"HTTP/1.1 302 Found\r\nLocation: /final\r\nContent-Length: 0\r\n\r\n",
}
TASK = """
    @task
    def {what}(self):
        response = self.client.get("/{what}-" + self.kind, name="{what} " + self.kind)
        if "{what}" == "chunked":
            assert response.text == "whole"
        if "{what}" == "zipped":
            assert response.text.startswith("the whole story")
"""
LAST = frozenset({"half", "halfchunked", "garbage"})  # after these the server closes the connection


def misbehave(wire: Wire, server: Server) -> None:
    while True:
        _, path, _ = server.request(wire)
        what = path.rpartition("-")[0].lstrip("/")
        if what == "closes":
            return
        if what == "stalls":
            server.released.wait(10)
            return
        if what == "trickles":
            wire.send(WORDS + b"Content-Length: 1000\r\n\r\n")
            while not server.released.wait(0.05):
                wire.send(b".")
            return
        wire.send(ANSWERS.get(what, OK))
        if what in LAST:
            return


def test_each_client_sends_each_request_once(tmp_path):
    tasks = "".join(TASK.format(what=what) for what in PATHS)
    visitor = "class {base}Visitor({base}):\n    kind = {kind!r}\n    max_retries = 3\n{tasks}"
    visitors = [visitor.format(base=base, kind=kind, tasks=tasks) for kind, base in KINDS.items()]
    imports = "from locust import FastHttpUser, HttpUser, task\nfrom harness.load.user import OpenHttpUser\n"
    locustfile = imports + "".join(visitors)
    load = make_load(tmp_path, locustfile, steady(150, 1.6, quiet_s=1.6), spacing="poisson", users=240, timeout_s=1.0)
    with Server(misbehave) as server:
        [result], [rows] = drive(tmp_path, load, server.host)
    assert result.last_words == ""
    assert sorted(rows.data["intended_ns"]) == planned_ns(load)
    assert set(rows.data["attempt"]) == {0}
    seen = Counter(rows.endpoints)
    for kind in KINDS:
        for what, word in PATHS.items():
            name = f"{what} {kind}"
            assert seen[name] > 0
            assert set(rows.of(name).errors) == {word}, name
            assert server.requests[f"/{what}-{kind}"] == seen[name], name
    # HttpUser and FastHttpUser follow redirects: one row for all of it, with the last status; OpenHttpUser does not.
    assert server.requests["/final"] == seen["moved stock"] + seen["moved fast"]
    statuses = {kind: set(rows.of(f"moved {kind}").data["status"]) for kind in KINDS}
    assert statuses == {"own": {302}, "stock": {200}, "fast": {200}}
    slow = rows.data[rows.errors == "timeout"]
    assert ((slow["end_ns"] - slow["start_ns"]) >= 990_000_000).all()
    assert np.median(slow["end_ns"] - slow["start_ns"]) < 1_200_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_flight_at_the_end_is_a_row(tmp_path, kind):
    locustfile = f"""
        from locust import FastHttpUser, HttpUser, task
        from harness.load.user import OpenHttpUser

        class Visitor({KINDS[kind]}):
            @task
            def journey(self):
                self.client.get("/first", name="first")
                self.client.get("/stalls-x", name="second")
    """
    # The last journey needs time for its first request, on a busy machine as well.
    load = make_load(tmp_path, locustfile, steady(40, 0.5, quiet_s=1.5), users=20, timeout_s=30, patience_s=30)
    with Server(misbehave) as server:
        [result], [rows] = drive(tmp_path, load, server.host)
        assert server.requests == {"/first": 20, "/stalls-x": 20}
    assert Counter(zip(rows.endpoints, rows.errors, strict=True)) == {("first", ""): 20, ("second", "aborted"): 20}
    assert set(rows.of("second").data["end_ns"]) == {2_000_000_000}
    assert result.arrivals == result.rows == 40


def test_connections_are_kept_beyond_file_descriptor_1024(tmp_path):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("the hard limit of open files is below 4096 here")
    locustfile = """
        from locust import FastHttpUser, task
        import os

        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]

        class Visitor(FastHttpUser):
            @task
            def page(self):
                self.client.get("/page", name="page")
    """
    load = make_load(tmp_path, locustfile, steady(200, 1.0, quiet_s=0.3), users=20)
    with Server(misbehave) as server:
        _, [rows] = drive(tmp_path, load, server.host)
        assert server.accepted == 20
    assert set(rows.errors) == {""}
    assert rows.arrivals == 200
