"""What runs on the near host in `test_load_hosts_apart`: `python far_site.py WHAT FOLDER NEAR_NAME FAR_NAME`.

A target that notes when each request arrived, a fleet of one far host whose clock is off, and arms. Prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import namespaces
from load_hosts import JOIN_TIMEOUT_S, wait_until
from load_servers import OK, Server, make_load, make_specs, read_rows, steady

from harness.clock import NS, now_ns
from harness.errors import LoadError
from harness.load.remote.fleet import Bind, Fleet
from harness.load.workers import LoadWorkers, spawn_plainly
from harness.record.merge import merge_spools

RATE = 50

USERS = """
    from locust import task
    from harness.load.user import OpenHttpUser

    class Shopper(OpenHttpUser):
        @task
        def catalog(self):
            self.client.get("/catalog", name="catalog")
"""

received_ns: list[int] = []


def note(wire, server) -> None:
    while True:
        server.request(wire)
        received_ns.append(now_ns())
        wire.send(OK)


def align(workers: LoadWorkers, t0_ns: int, hosts: namespaces.Hosts) -> dict[str, object]:
    """A whole arm."""
    (result,) = workers.wait(30)
    table = merge_spools("baseline-1", [result.spool])
    starts, ends = (sorted(table.column(name).to_pylist()) for name in ("start_ns", "end_ns"))
    return {
        "rows": table.num_rows,
        "counted": result.rows,
        "offset_ns": result.clock.offset_ns,
        "uncertainty_ns": result.clock.uncertainty_ns,
        "start_to_received_ns": [at - t0_ns - start for at, start in zip(received_ns, starts, strict=True)],
        "received_to_end_ns": [end - (at - t0_ns) for at, end in zip(received_ns, ends, strict=True)],
    }


def blip(workers: LoadWorkers, t0_ns: int, hosts: namespaces.Hosts) -> dict[str, object]:
    """The cable is out for a second."""
    wait_until(lambda: now_ns() - t0_ns > NS)
    namespaces.plug(hosts, "down")
    time.sleep(1)
    namespaces.plug(hosts, "up")
    (result,) = workers.wait(30)
    return {"counted": result.rows, "here": result.spool_rows, "words": result.last_words}


def cut(workers: LoadWorkers, t0_ns: int, hosts: namespaces.Hosts) -> dict[str, object]:
    """The cable is pulled out for good."""
    wait_until(lambda: now_ns() - t0_ns > 2 * NS)
    namespaces.plug(hosts, "down")
    cut_s = (now_ns() - t0_ns) / NS
    words = ""
    try:
        wait_until(lambda: workers.latest() is None)
    except LoadError as error:
        words = str(error)
    noticed_s = (now_ns() - t0_ns) / NS
    (result,) = workers.wait(5)
    return {
        "cut_s": cut_s,
        "noticed_s": noticed_s,
        "words": words,
        "reached_s": float(max(read_rows(result.spool).data["end_ns"])) / NS,
    }


def main() -> None:
    what, folder, near_name, far_name = sys.argv[1:]
    hosts = namespaces.Hosts(near_name, far_name)
    here = Path(folder)
    load = make_load(here, USERS, steady(RATE, 60.0 if what == "cut" else 4.0, quiet_s=1.0), users=20)
    bind = Bind(namespaces.NEAR)
    fleet = Fleet(bind, load, spawn=spawn_plainly, logs=here)
    with Server(note, host=namespaces.NEAR) as server, (here / "far.log").open("wb") as log:
        fleet.start()
        worker = ["worker", "--master", str(bind), "--wait", str(JOIN_TIMEOUT_S), "--spool", str(here / "far")]
        far = subprocess.Popen([*hosts.far_off_time, sys.executable, "-m", "harness", *worker], stderr=log)
        try:
            fleet.gather(lambda _: None, JOIN_TIMEOUT_S)
            workers = LoadWorkers(make_specs(here, load, server.host), crew=fleet)
            workers.start()
            workers.wait_ready(60)
            received_ns.clear()
            t0_ns = now_ns() + workers.lead_ns
            workers.go(t0_ns)
            told = {"align": align, "blip": blip, "cut": cut}[what](workers, t0_ns, hosts)
            fleet.dismiss()
            told["far_exit_code"] = far.wait(20)
        finally:
            fleet.dismiss()
            far.kill()
            far.wait()
    told["far_said"] = (here / "far.log").read_text()
    told["requests"] = len(received_ns)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
