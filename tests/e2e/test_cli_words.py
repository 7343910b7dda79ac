"""What the command line says: help, wrong scenarios, wrong records, data for programs."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from record_builder import build_record

from harness.paths import shipped


class Yaml12(yaml.SafeLoader):
    """As editors read YAML (1.2): `on` is a word."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

VERBS = (
    *(
        "run",
        "simulate",
        "plan",
        "analyse",
        "report",
        "calibrate",
        "rollback",
        "toxiproxy",
        "faults",
        "doctor",
        "schema",
    ),
    "init",
)
QUICKSTART = shipped("scenarios") / "quickstart.yaml"


def harness(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str) -> None:
    done = harness(verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_an_unknown_verb_or_option_is_a_usage_error() -> None:
    assert harness("rum").returncode == 2
    assert harness("run", "--nope").returncode == 2
    assert harness("run").returncode == 2


WRONG = {
    "unknown key": ("load:\n", "laod:\n", "laod", "did you mean `load`"),
    "bad unit": ("rate: 100/s", "rate: 100 parsecs", "load.rate", "/s"),
    "unknown fault": ("redis-down:", "redis-dwon:", "redis-dwon", "did you mean `redis-down`"),
    "time outside a phase": ("at: spike + 1s", "at: spike + 60s", "at", "spike"),
    "duplicate key": ("name: quickstart\n", "name: quickstart\nname: again\n", "name", "twice"),
    "tab": ("load:\n  users", "load:\n\tusers", "", "tab"),
    "unknown expectation": ("no cascade", "no cascades", "expect", "cascade"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_scenario_names_file_line_and_field(case: str, tmp_path: Path) -> None:
    old, new, field, hint = WRONG[case]
    text = QUICKSTART.read_text()
    assert old in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(old, new, 1).replace("locustfiles/", f"{shipped('scenarios')}/locustfiles/"))
    for verb in ("plan", "run"):
        done = harness(verb, path, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert f"{path}:" in done.stderr
        line = int(done.stderr.split(f"{path}:")[1].split(":")[0])
        assert abs(line - _line_of(path.read_text(), new)) <= 2
        assert field in done.stderr
        assert hint in done.stderr.lower()
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "results").exists(), "nothing may be started"


def _line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


HOSTILE = {
    "empty": b"",
    "not YAML": b"{]",
    "a list": b"- 1\n- 2\n",
    "binary": bytes(range(256)),
    "10 MB": b"name: x\n" + b"# filler\n" * 1_200_000,
    "bomb": b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(9)),
    "deep": b"[" * 50_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_words(case: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[case])
    done = harness("plan", path)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000


def test_a_missing_file_is_told() -> None:
    done = harness("run", "no-such-scenario.yaml")
    assert done.returncode == 2
    assert "no-such-scenario.yaml" in done.stderr


def test_plan_shows_the_timeline_and_starts_nothing(tmp_path: Path) -> None:
    done = harness("plan", QUICKSTART, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("warm-up", "spike", "redis-down", "130/s", "error-rate increases by < 1pp"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []
    data = json.loads(harness("plan", QUICKSTART, "--json", "--seed", "3").stdout)
    assert data["name"] == "quickstart"


def test_a_shipped_scenario_is_found_by_name(tmp_path: Path) -> None:
    assert harness("plan", "two-am", cwd=tmp_path).returncode == 0
    assert harness("plan", "scenarios/two-am.yaml", cwd=tmp_path).returncode == 0


def test_the_schema_accepts_the_shipped_scenarios_and_refuses_others() -> None:
    schema = json.loads(harness("schema").stdout)
    for path in shipped("scenarios").glob("*.yaml"):
        jsonschema.validate(yaml.load(path.read_text(), Loader=Yaml12), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "laod": {}}, schema)


def test_the_record_schema_accepts_a_record(tmp_path: Path) -> None:
    schema = json.loads(harness("schema", "--record").stdout)
    folder = build_record(tmp_path / "record", seconds=20, rate=20, endpoints=("a",), fault_window=(8, 14))
    jsonschema.validate(json.loads((folder / "run.json").read_text()), schema["run.json"])
    for line in (folder / "events.jsonl").read_text().splitlines():
        jsonschema.validate(json.loads(line), schema["events.jsonl"])
    assert [column["name"] for column in schema["samples.parquet"]][:4] == ["arm", "worker", "seq", "attempt"]


def test_faults_are_listed() -> None:
    text = harness("faults").stdout
    assert "latency" in text
    assert "redis-down" in text
    assert {one["name"] for one in json.loads(harness("faults", "--json").stdout)} >= {"latency", "redis-down"}


def test_doctor_finds_what_a_run_needs(tmp_path: Path) -> None:
    done = harness("doctor", "--out", tmp_path, "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["PostgreSQL"]["ok"], checks["PostgreSQL"]
    assert checks["Valkey (Redis protocol)"]["ok"]
    assert done.returncode == 0


def test_init_writes_a_scenario_that_can_be_planned(tmp_path: Path) -> None:
    done = harness("init", tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    written = [Path(line.removeprefix("wrote ")) for line in done.stdout.splitlines()]
    scenario = next(path for path in written if path.suffix == ".yaml" and path.name != "target.yaml")
    assert harness("plan", scenario).returncode == 0
    again = harness("init", tmp_path / "mine")
    assert again.returncode == 2
    assert "Traceback" not in again.stderr


def test_a_damaged_record_is_told_and_no_integrity_goes_on(tmp_path: Path) -> None:
    folder = build_record(tmp_path / "record", seconds=30, rate=40, endpoints=("a",), fault_window=(10, 18))
    assert harness("analyse", folder).returncode in (0, 1, 3, 4)
    events = folder / "events.jsonl"
    whole = events.read_text()
    events.write_text(whole + "\n")
    done = harness("analyse", folder)
    assert done.returncode == 2
    assert "events.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
    assert harness("analyse", folder, "--no-integrity").returncode in (0, 1, 3, 4)
    events.write_text(whole)
    (folder / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes()[:-50])
    for options in ((), ("--no-integrity",)):
        done = harness("analyse", folder, *options)
        assert done.returncode == 2
        assert "samples.parquet" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_record_of_a_newer_version_is_told(tmp_path: Path) -> None:
    folder = build_record(tmp_path / "record", seconds=20, rate=20, endpoints=("a",), fault_window=(8, 14))
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "schema_version": 99}))
    done = harness("analyse", folder)
    assert done.returncode == 2
    assert "upgrade" in done.stderr
