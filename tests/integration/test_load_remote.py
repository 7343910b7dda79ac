"""Load workers behind Locust's master and agents: the same rows as on one host, whatever dies in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from load_hosts import Host, Site, site, wait_until
from load_servers import Server, good, make_load, make_specs, read_rows, steady

from harness.clock import NS, now_ns
from harness.errors import LoadError
from harness.load.arrivals import arrivals_of
from harness.load.remote.fleet import Bind
from harness.load.validity import validity_reasons
from harness.ports import reserve_port
from harness.record.merge import merge_spools

USERS = """
    from pathlib import Path
    from locust import task
    from harness.load.user import OpenHttpUser
    from helpers import carts

    NAMES = Path(__file__).with_name("names.txt").read_text().split()

    class Shopper(OpenHttpUser):
        @task
        def catalog(self):
            self.client.get("/catalog", name=NAMES[0])
        @task
        def cart(self):
            self.client.get(carts.PATH, name=NAMES[1])
"""


def shop(folder, rate, duration_s, *, hosts, quiet_s=0.0):
    home = folder / "users"
    (home / "helpers").mkdir(parents=True)
    (home / "helpers" / "__init__.py").touch()
    (home / "helpers" / "carts.py").write_text("PATH = '/cart'\n")
    (home / "names.txt").write_text("browse put")
    return make_load(home, USERS, steady(rate, duration_s, quiet_s), workers=hosts, seed=5, users=40)


def planned_ns(load):
    return [int(instant_s * 1e9) for instant_s in arrivals_of(load)]


def reached_s(spool):
    """How far into the arm the rows of a spool go."""
    return max(read_rows(spool).data["end_ns"], default=0) / NS


def test_two_hosts_serve_one_schedule_arm_after_arm(tmp_path):
    load = shop(tmp_path, 200, 2.0, hosts=2, quiet_s=0.5)
    instants = planned_ns(load)
    with Server(good) as server, site(tmp_path, load, 2) as here:
        for arm in ("first", "second"):
            (tmp_path / arm).mkdir()
            specs = [replace(spec, arm=arm) for spec in make_specs(tmp_path / arm, load, server.host)]
            workers, _ = here.begin(specs)
            results = workers.wait(30)
            assert [result.last_words for result in results] == ["", ""]
            for worker, result in enumerate(results):
                rows = read_rows(result.spool)
                assert sorted(rows.data["intended_ns"]) == instants[worker::2]
                assert result.rows == result.spool_rows == result.arrivals == len(instants[worker::2])
                assert set(rows.endpoints) == {"browse", "put"}
                # It is the same clock, so the truth is 0.
                assert abs(result.clock.offset_ns) <= result.clock.uncertainty_ns
                assert result.clock.readings >= 4
            table = merge_spools(arm, [result.spool for result in results])
            assert table.num_rows == len(instants)
        here.fleet.dismiss()
        assert [host.process.wait(10) for host in here.hosts] == [0, 0]
    assert server.requests.total() == 2 * len(instants)
    assert all("all rows were delivered" in host.said and not host.spool.exists() for host in here.hosts)


def test_a_killed_worker_process_ends_the_arm_and_its_rows_are_here(tmp_path):
    load = shop(tmp_path, 200, 20.0, hosts=2)
    with Server(good) as server, site(tmp_path, load, 2) as here:
        workers, t0_ns = here.begin(make_specs(tmp_path, load, server.host))
        wait_until(lambda: now_ns() - t0_ns > 3 * NS)
        victim = next(host for host in here.hosts if f"worker {1} of" in host.said)
        killed_s = (now_ns() - t0_ns) / NS
        victim.worker.kill()
        with pytest.raises(LoadError, match=r"load-worker-1 on .* died \(signal 9\)"):
            wait_until(lambda: workers.latest() is None)
        workers.stop()
        results = workers.wait(20)
    assert reached_s(results[0].spool) > killed_s - 1
    assert reached_s(results[1].spool) > killed_s
    assert results[1].rows == results[1].spool_rows
    assert validity_reasons(results, "fault")[0].startswith("load-worker-1 was lost (exit code -9)")


def test_a_killed_load_host_is_missed_and_its_worker_ends(tmp_path):
    load = shop(tmp_path, 200, 30.0, hosts=1)
    with Server(good) as server, site(tmp_path, load, 1) as here:
        workers, t0_ns = here.begin(make_specs(tmp_path, load, server.host))
        wait_until(lambda: now_ns() - t0_ns > 3 * NS)
        (host,) = here.hosts
        worker = host.worker
        killed_s = (now_ns() - t0_ns) / NS
        host.process.kill()
        worker.wait(10)
        sent = server.requests.total()
        with pytest.raises(LoadError, match=r"load-worker-1 on .*nothing was heard of .* for 3 s"):
            wait_until(lambda: workers.latest() is None)
        (result,) = workers.wait(20)
        assert server.requests.total() == sent
    assert killed_s - 1 < reached_s(result.spool)
    assert result.rows is None


def test_a_killed_master_stops_the_load_and_no_row_is_lost(tmp_path):
    load = shop(tmp_path, 200, 30.0, hosts=1)
    specs = make_specs(tmp_path, load, "")
    with Server(good) as server, site(tmp_path, load, 1) as here:
        specs = make_specs(tmp_path, load, server.host)
        workers, t0_ns = here.begin(specs)
        wait_until(lambda: now_ns() - t0_ns > 2 * NS)
        here.masters[0].kill()
        with pytest.raises(LoadError, match=r"the Locust master ended \(signal 9\).*keep the rows"):
            wait_until(lambda: workers.latest() is None)
        (result,) = workers.wait(20)
        (host,) = here.hosts
        assert host.process.wait(20) == 5
        sent = server.requests.total()
        time.sleep(0.3)
        assert server.requests.total() == sent
    assert "lost the master at 127.0.0.1" in host.said
    assert f"kept in {host.spool}" in host.said
    (kept,) = host.spool.glob("*.rows")
    whole, arrived = read_rows(kept).data, read_rows(result.spool).data
    assert len(whole) == sent
    assert 0 < len(arrived) < len(whole)
    assert (whole[: len(arrived)] == arrived).all()
    # Brought over, they are what the record would have had.
    for path in host.spool.glob("*.rows*"):
        shutil.copy(path, result.spool.with_name(path.name.replace(kept.name, result.spool.name)))
    assert merge_spools("baseline-1", [result.spool]).num_rows == len(whole)


def test_a_load_host_that_is_interrupted_says_so(tmp_path):
    load = shop(tmp_path, 100, 30.0, hosts=1)
    with Server(good) as server, site(tmp_path, load, 1) as here:
        workers, t0_ns = here.begin(make_specs(tmp_path, load, server.host))
        wait_until(lambda: now_ns() - t0_ns > NS)
        (host,) = here.hosts
        os.kill(host.process.pid, signal.SIGINT)
        with pytest.raises(LoadError, match="was interrupted on its host"):
            wait_until(lambda: workers.latest() is None)
        (result,) = workers.wait(20)
        assert host.process.wait(20) == 130
    assert result.rows == result.spool_rows == server.requests.total()
    assert not host.spool.exists()


def test_a_target_that_the_load_host_cannot_reach_is_told_before_the_arm(tmp_path):
    load = shop(tmp_path, 100, 1.0, hosts=1)
    words = r"(?s)cannot reach the target at http://127\.0\.0\.1:1: .*--bind"
    with site(tmp_path, load, 1) as here, pytest.raises(LoadError, match=words):
        here.begin(make_specs(tmp_path, load, "http://127.0.0.1:1"))


OTHER_VERSION = """
import sys
import harness
harness.__version__ = "99.0"
from harness.load.remote import agent
sys.argv = ["agent", *sys.argv[3].split(":"), sys.argv[5], sys.argv[7]]
agent.main()
"""


def test_who_does_not_fit_is_turned_away_and_the_others_go_on(tmp_path):
    load = shop(tmp_path, 50, 0.5, hosts=1)
    here = Site(tmp_path, load, 0)
    other = Host(8, here.bind, tmp_path, ("-c", OTHER_VERSION))
    try:
        assert other.process.wait(60) == 5
        assert "has version 99.0 of harness" in other.said
        assert "install the same on both" in other.said
        here.hosts.append(Host(0, here.bind, tmp_path))
        here.gather()
        surplus = Host(9, here.bind, tmp_path)
        here.hosts.append(surplus)
        assert surplus.process.wait(60) == 5
        assert "has its 1 load workers already" in surplus.said
        assert any("99.0" in note for note in here.notes)
    finally:
        here.fleet.dismiss()
        for host in (*here.hosts, other):
            host.end()


def test_a_port_that_is_taken_and_an_address_of_another_host(tmp_path):
    load = shop(tmp_path, 50, 0.5, hosts=1)
    here = Site(tmp_path, load, 0)
    try:
        with pytest.raises(LoadError, match=f"(?s)cannot listen .*{here.bind}: Address already in use"):
            _fleet(here.bind, here).start()
        with pytest.raises(LoadError, match="--bind takes an address of this host"):
            _fleet(Bind("192.0.2.1", here.bind.port), here).start()
        with pytest.raises(LoadError, match=f"(?s)0 of 1 load hosts joined.*--master {here.bind}"):
            here.fleet.gather(here.notes.append, 0.2)
    finally:
        here.fleet.dismiss()
        for master in here.masters:
            master.kill()
            master.wait()


def _fleet(bind, here):
    return type(here.fleet)(bind, here.load, spawn=here._spawn, logs=here.folder)


@pytest.mark.parametrize(
    ("master", "words"),
    [
        (f"127.0.0.1:{reserve_port()}", "no run was found at 127.0.0.1"),
        ("no.such.host.invalid:5557", "cannot resolve no.such.host.invalid"),
        ("0.0.0.0:1", "is not the address of one host"),
    ],
)
def test_a_load_host_without_a_run_says_so(tmp_path, master, words):
    argv = [sys.executable, "-m", "harness", "worker", "--master", master, "--wait", "1", "--spool", tmp_path / "rows"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (2, 5)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rows").exists()


def test_a_folder_with_something_in_it_is_not_used_and_not_emptied(tmp_path):
    (tmp_path / "precious").touch()
    argv = [sys.executable, "-m", "harness", "worker", "--master", "127.0.0.1", "--spool", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert "is not empty" in done.stderr
    assert (tmp_path / "precious").exists()
