"""What ships resolves: the scenarios in all variants, the starter, and the schemas that editors use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.errors import ScenarioError
from harness.expectations import parse
from harness.faults.base import FaultType
from harness.faults.catalogue import catalogue as shipped_catalogue
from harness.paths import find_scenario, shipped
from harness.plan import Plan
from harness.scenario.locations import Location
from harness.scenario.manifest import load_target
from harness.scenario.resolve import resolve
from harness.scenario.schema import manifest_schema, scenario_schema
from harness.scenario.source import read_file
from harness.scenario.starter import write_starter

SCENARIOS = sorted(shipped("scenarios").glob("*.yaml"))
VARIANTS = [(file, name) for file in SCENARIOS for name in read_file(file).data["variants"]]


def _plan(name: str, variant: str | None = None) -> Plan:
    return resolve(find_scenario(name), catalogue=shipped_catalogue(), variant=variant, seed=1)


def _check(schema: dict[str, Any], data: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)


def test_the_scenarios_are_there() -> None:
    assert {"quickstart", "redis-outage", "two-am"} <= {file.stem for file in SCENARIOS}


@pytest.mark.parametrize(("file", "variant"), VARIANTS, ids=lambda value: getattr(value, "stem", value))
def test_every_shipped_variant_resolves(file: Path, variant: str) -> None:
    plan = _plan(str(file), variant)
    assert plan.name == file.stem
    assert plan.scenario["teaches"]


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_shipped_scenario_takes_three_minutes_at_most(file: Path) -> None:
    plan = _plan(str(file))
    assert plan.arm_duration_s * len(plan.arms) <= 180 - 14, "booting, resetting and analysing takes the rest"


def test_the_quickstart_fits_into_its_minute_and_can_be_decided() -> None:
    plan = _plan("quickstart")
    assert plan.arm_duration_s <= 24.0
    within_s = next(parse(text).bound for text in plan.expect if text.startswith("recovers"))
    assert within_s is not None
    watched_s = plan.arm_duration_s - plan.faults[-1].end_s
    assert watched_s >= within_s - 1 + 10, "recovery is the first ten good seconds in a row"


def test_two_am_is_the_story_that_was_measured() -> None:
    fragile, softened, hardened = (_plan("two-am", name) for name in ("fragile", "client-hardened", "hardened"))
    assert [plan.scenario["variants"][plan.variant]["ends-as"] for plan in (fragile, softened, hardened)] == [
        "metastable",
        "cascading",
        "contained",
    ]
    assert fragile.faults == softened.faults == hardened.faults
    fault = fragile.faults[0]
    assert (fault.edge, fault.params["latency"], fault.for_s) == ("app->postgres", 0.15, 8.0)
    assert next(phase.rate for phase in fragile.phases if phase.end_s > fault.at_s) == 117.0
    # Two checkouts in three arrivals; a retry storm of four attempts each carries 125 / 4 a second at most.
    assert all(phase.rate * 2 / 3 > 125 / 4 for phase in fragile.phases if phase.end_s > fault.at_s)
    assert fragile.arm_duration_s - fault.end_s >= 60.0
    assert fragile.load.retries["checkout"].policy == "immediate"
    assert softened.load.retries == hardened.load.retries
    assert softened.settings == fragile.settings != hardened.settings
    assert not fragile.abort_when


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_schema_accepts_the_shipped_scenarios(file: Path) -> None:
    _check(scenario_schema(shipped_catalogue()), read_file(file).data)


def test_the_schema_accepts_the_shipped_target() -> None:
    _check(manifest_schema(), read_file(shipped("targets") / "sample-flask-app" / "target.yaml").data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("load", "rate"), "100"),
        (("load", "concurrency"), "50"),
        (("load", "model"), "closed"),
        (("load", "phases", 2, "concurrency"), "30%"),
        (("load", "phases", 1), {"steady": "10"}),
        (("load", "phases", 2, "rate"), "30%"),
        (("load", "phases", 2), {"spike": "20s", "sine": "30%"}),
        (("load", "phases", 2), {"spike": "20s", "sine": "+30%", "period": "5s"}),
        (("load", "phases", 2), {"spike": "20s", "speed": "200%"}),
        (("faults", 0), {"redis-dwon": {"at": "spike", "for": "3s"}}),
        (("faults", 0), {"latency": {"at": "spike", "for": "3s", "latency": "1s"}}),
        (("faults", 0), {"latency": {"on": "app->redis", "at": "spike", "for": "3s"}}),
        (("unknown",), "x"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(
    folder: Path, catalogue: Mapping[str, FaultType], path: tuple[str | int, ...], value: Any
) -> None:
    document = read_file(folder / "outage.yaml").replaced(path, value, "")
    with pytest.raises(jsonschema.ValidationError):
        _check(scenario_schema(catalogue), document.data)


EXAMPLES = re.findall(r"```yaml\n(.*?)```", (shipped("scenarios") / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_plans(folder: Path, catalogue: Mapping[str, FaultType], example: str) -> None:
    (folder / "traces").mkdir()
    (folder / "traces" / "friday.csv").write_text("".join(f"{1.8e9 + k / 4}\n" for k in range(80_000)))
    (folder / "traces" / "daily.csv").write_text("time,rate\n0,80\n3600,120\n")
    text = (folder / "outage.yaml").read_text()
    load = re.compile(r"^load:\n(  .*\n)+", re.MULTILINE)
    whole = load.sub(example, text) if example.startswith("load:") else text + example
    (folder / "example.yaml").write_text(whole.replace("at: spike + 5s", "at: 12s"))
    assert resolve(folder / "example.yaml", catalogue=catalogue).load.duration_s > 30
    _check(scenario_schema(catalogue), read_file(folder / "example.yaml").data)


def test_the_schema_accepts_sines_and_traces(folder: Path, catalogue: Mapping[str, FaultType]) -> None:
    day = {"day": "60s", "rate": "+10%", "sine": "30%", "period": "20s"}
    friday = {"friday": "60s", "trace": "friday.csv", "from": "2h", "speed": "200%", "rate": "-50%"}
    document = read_file(folder / "outage.yaml").replaced(("load", "phases"), [{"warm-up": "5s"}, day, friday], "")
    _check(scenario_schema(catalogue), document.data)


def test_the_schema_accepts_the_closed_model(folder: Path, catalogue: Mapping[str, FaultType]) -> None:
    document = read_file(folder / "outage.yaml")
    load = {key: value for key, value in document.data["load"].items() if key != "rate"}
    phases = [{"warm-up": "5s"}, {"spike": "20s", "concurrency": "+30%", "ramp": "2s"}]
    closed = {**load, "model": "closed", "concurrency": "50", "phases": phases}
    _check(scenario_schema(catalogue), document.replaced(("load",), closed, "").data)


def test_the_schema_lists_the_faults(catalogue: Mapping[str, FaultType]) -> None:
    fault = scenario_schema(catalogue)["$defs"]["FaultEntry"]["properties"]
    assert set(fault) == set(catalogue)
    assert fault["latency"]["required"] == ["on", "at", "for", "latency"]
    assert fault["redis-down"]["required"] == ["at", "for"]


def test_the_starter_resolves(tmp_path: Path) -> None:
    written = write_starter(tmp_path)
    plan = resolve(tmp_path / "scenarios" / "first.yaml", catalogue=shipped_catalogue(), seed=1)
    assert plan.target_folder == str((tmp_path / "targets" / "my-app").resolve())
    assert plan.settings == {"REDIS_TIMEOUT_SECONDS": "0.1"}
    assert {file.suffix for file in written} == {".yaml", ".py"}
    for file in written:
        if file.suffix == ".py":
            compile(file.read_text(), str(file), "exec")


@pytest.mark.parametrize(("url", "hosts"), [("http://127.0.0.1:8000", ()), ("http://shop.test/api", ("shop.test",))])
def test_the_starter_for_an_app_that_runs_already(tmp_path: Path, url: str, hosts: tuple[str, ...]) -> None:
    write_starter(tmp_path, url)
    plan = resolve(tmp_path / "scenarios" / "first.yaml", catalogue=shipped_catalogue(), seed=1)
    assert [fault.edge for fault in plan.faults] == ["client->app"]
    target = load_target(plan.target_folder)
    assert target.hosts == hosts
    assert target.processes["app"].url == Location.parse(url)
    _check(manifest_schema(), read_file(target.folder / "target.yaml").data)


def test_the_starter_refuses_what_is_no_url(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--target: expected a URL"):
        write_starter(tmp_path, "shop.test")
    assert not list(tmp_path.iterdir())


def test_the_starter_overwrites_nothing(tmp_path: Path) -> None:
    mine = tmp_path / "targets" / "my-app" / "target.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ScenarioError, match="there already"):
        write_starter(tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "scenarios").exists()


def test_the_starter_says_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "scenarios").write_text("a file")
    with pytest.raises(ScenarioError, match="can't be written"):
        write_starter(tmp_path)


def test_a_lost_region_is_no_edge(tmp_path: Path) -> None:
    scenario = yaml.safe_load((shipped("scenarios") / "quickstart.yaml").read_text())
    scenario |= {"regions": ["east", "west"], "faults": [{"region-loss": {"on": "east", "at": "spike", "for": "5s"}}]}
    scenario["load"]["users"] = str(shipped("scenarios") / "locustfiles" / "shop.py")
    (tmp_path / "lost.yaml").write_text(yaml.safe_dump(scenario))
    (fault,) = _plan(str(tmp_path / "lost.yaml")).faults
    assert (fault.component, fault.edge, fault.where) == ("app-east", "", ("east",))
