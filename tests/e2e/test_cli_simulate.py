"""`harness simulate` from the command line: a record like any other, the same one for the same seed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.paths import shipped
from harness.record.reader import read


def harness(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=cwd)


def test_a_simulation_leaves_a_record_that_can_be_judged_anywhere(tmp_path: Path) -> None:
    done = harness("simulate", "quickstart", "--variant", "fragile", "--seed", "3", "--json", cwd=tmp_path)
    outcome = json.loads(done.stdout)
    folder = Path(outcome["folder"])
    assert folder.parent == tmp_path / "results" / "simulated"
    assert outcome["verdict"]["cascade"]["class"] == "contained"
    assert outcome["verdict"]["sentence"].startswith("In simulation: ")
    assert done.returncode == outcome["exit_code"] == 1
    assert "arrivals simulated" in done.stderr

    record = read(folder)
    assert record.info.simulated is not None
    assert record.info.validity.valid
    assert {"app-1", "app-2", "payments"} <= {component for _, component, _ in record.telemetry.available()}
    report = (folder / "report.html").read_text()
    assert "All of this happened in a simulation" in report
    assert "harness simulate scenarios/quickstart.yaml --variant fragile --seed 3" in report

    verdict = (folder / "verdict.json").read_bytes()
    assert harness("analyse", folder, cwd=tmp_path).returncode == 1
    assert (folder / "verdict.json").read_bytes() == verdict

    again = json.loads(
        harness("simulate", "quickstart", "--variant", "fragile", "--seed", "3", "--json", cwd=tmp_path).stdout
    )
    for name in ("samples.parquet", "telemetry.parquet"):
        assert pq.read_table(folder / name).equals(pq.read_table(Path(again["folder"]) / name))


def test_ten_times_the_load_on_ten_times_the_stack_ends_alike(tmp_path: Path) -> None:
    done = harness("simulate", "quickstart", "--seed", "3", "--scale", "10", "--json", "--quiet", cwd=tmp_path)
    outcome = json.loads(done.stdout)
    assert done.stderr == ""
    assert outcome["verdict"]["cascade"]["class"] == "none"
    simulated = read(Path(outcome["folder"])).info.simulated
    assert simulated is not None
    assert simulated["scale"] == 10
    assert simulated["arrivals"]["baseline-1"] == pytest.approx(10 * 2670, rel=0.03)


def test_a_target_without_a_model_is_a_clear_error_before_anything_is_written(tmp_path: Path) -> None:
    for kind in ("scenarios", "targets"):
        shutil.copytree(shipped(kind), tmp_path / kind)
    (tmp_path / "targets" / "sample-flask-app" / "model.yaml").unlink()
    done = harness("simulate", tmp_path / "scenarios" / "quickstart.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "has no model that could be simulated" in done.stderr
    assert "docs/simulation.md" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_task_that_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    for kind in ("scenarios", "targets"):
        shutil.copytree(shipped(kind), tmp_path / kind)
    model = tmp_path / "targets" / "sample-flask-app" / "model.yaml"
    model.write_text(model.read_text().replace("  ping: [{work: 1ms}]\n", ""))
    done = harness("simulate", tmp_path / "scenarios" / "quickstart.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "the task `ping` of shop.py is no endpoint of the model" in done.stderr
