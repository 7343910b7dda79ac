"""A whole run whose load comes from another host, with a clock that is off."""

import json
import subprocess
import sys
from pathlib import Path

import namespaces
import pytest
from runs import finish, harness, only_run

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_run_with_a_load_host(scenario: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with namespaces.two_hosts() as hosts, (tmp_path / "far.log").open("wb") as log:
        worker = ["worker", "--master", f"{namespaces.NEAR}:5600", "--spool", tmp_path / "far"]
        far = subprocess.Popen([*hosts.far_off_time, sys.executable, "-m", "harness", *map(str, worker)], stderr=log)
        run = ["run", scenario, "--out", results, "--remote-workers", "1", "--bind", f"{namespaces.NEAR}:5600"]
        try:
            code, _, err = finish(harness(*run, on=hosts.near))
            assert far.wait(20) == 0
        finally:
            far.kill()
            far.wait()
    assert code in (0, 4, 5), err  # so short a run may be undecided, or invalid on a machine that hiccups
    assert "joined as load worker 1 (1 of 1)" in err
    info = json.loads((only_run(results) / "run.json").read_text())
    assert [arm["rows"] > 300 for arm in info["arms"]] == [True, True]
    for arm in info["arms"]:
        (clock,) = arm["worker_clocks"]
        assert clock["worker"] == "load-worker-1"
        assert abs(clock["offset_ns"] - namespaces.CLOCK_OFF_S * 10**9) <= clock["uncertainty_ns"]
    assert not any("lost" in reason or "clock" in reason for reason in info["validity"]["reasons"])
    assert "Clocks of the load hosts" in (only_run(results) / "report.html").read_text()
    assert not (only_run(results) / "spool").exists()
