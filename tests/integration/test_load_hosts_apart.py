"""Two hosts with a network between them, and a clock that is 3 s off: rows are in step, or it is said what was lost.

Each test is the script `far_site.py`, run on the near host.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import namespaces
import pytest
from far_site import RATE

from harness.load.remote.protocol import LOST_AFTER_S


@pytest.fixture(scope="module")
def hosts():
    with namespaces.two_hosts() as made:
        yield made


def run(hosts, what, folder):
    namespaces.plug(hosts, "up")
    here = Path(__file__).parent
    argv = [*hosts.near, sys.executable, str(here / "far_site.py"), what, str(folder), hosts.near_name, hosts.far_name]
    env = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rows_of_a_host_whose_clock_is_off_are_in_step_with_what_the_target_saw(hosts, tmp_path):
    told = run(hosts, "align", tmp_path)
    assert told["rows"] == told["counted"] == told["requests"] == 4 * RATE
    sure_ns = told["uncertainty_ns"]
    assert abs(told["offset_ns"] - namespaces.CLOCK_OFF_S * 10**9) <= sure_ns < 50_000_000
    # A request is received after it was sent and before its answer came: on a clock that both agree on.
    assert min(told["start_to_received_ns"]) > -sure_ns
    assert min(told["received_to_end_ns"]) > -sure_ns
    assert statistics.median(told["start_to_received_ns"]) < 10_000_000 + sure_ns
    assert told["far_exit_code"] == 0


def test_a_network_that_is_gone_for_a_second_loses_no_row(hosts, tmp_path):
    told = run(hosts, "blip", tmp_path)
    assert told["words"] == ""
    assert told["counted"] == told["here"] == 4 * RATE
    assert told["far_exit_code"] == 0


def test_a_network_that_is_gone_ends_the_load_on_both_sides(hosts, tmp_path):
    told = run(hosts, "cut", tmp_path)
    assert f"nothing was heard of {os.uname().nodename} for {LOST_AFTER_S:.0f} s" in told["words"]
    assert told["noticed_s"] - told["cut_s"] < LOST_AFTER_S + 5
    assert told["reached_s"] > told["cut_s"] - 1
    assert told["far_exit_code"] == 5
    assert f"lost the master at {namespaces.NEAR}" in told["far_said"]
    assert f"kept in {tmp_path / 'far'}" in told["far_said"]
