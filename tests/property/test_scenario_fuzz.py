"""Whatever a file holds: a plan, or a ScenarioError; never anything else."""

import json
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ScenarioError
from harness.faults.catalogue import catalogue
from harness.load.arrivals import arrivals_of
from harness.paths import shipped
from harness.plan import Plan
from harness.scenario.manifest import load_target
from harness.scenario.resolve import resolve
from harness.scenario.source import read_bytes, read_file

FILE = Path("fuzz.yaml")
T = TypeVar("T")
SHIPPED = {file.name: file.read_text(encoding="utf-8") for file in sorted(shipped("scenarios").glob("*.yaml"))}
PIECES = ["\t", "\n", "  ", "- ", ": ", "{", "}", "[", "]", "&a", "*a", "<<", "!!", "|", ">", '"', "'", "#", "---", "%"]
ODD = [
    "",
    "~",
    "on",
    "-1s",
    "1e9s",
    "9" * 30,
    "+30%",
    "spike",
    "spike + ",
    "99h",
    "app->redis",
    "redis",
    "x" * 300,
    "é",
]

PHASE = {
    "rate": ["+30%", "-100%", "5/s", "9/h"],
    "concurrency": ["+30%", "12", "0", "x"],
    "ramp": ["1s", "20s", "0.0000000001s"],
    "sine": ["30%", "100%", "200%", "5/s", "+3%"],
    "period": ["1s", "1us", "7h"],
    "trace": ["good.csv", "rates.csv", "bad.csv", "none.csv", ".", "/"],
    "from": ["1s", "2s", "99h"],
    "speed": ["200%", "0.1%", "100000%", "-5%"],
}

fragments = st.one_of(st.sampled_from(PIECES), st.sampled_from(ODD), st.text(max_size=5))
values = st.recursive(
    st.one_of(st.sampled_from(ODD), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the shipped locustfiles stand."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "good.csv").write_text("".join(f"{k / 10}\n" for k in range(300)))
    (folder / "rates.csv").write_text("time,rate\n0,10\n3,0\n")
    (folder / "bad.csv").write_text("1\n2\n1\n")
    (folder / "locustfiles").symlink_to(shipped("scenarios") / "locustfiles")
    return folder


def _attempt(call: Callable[[], T]) -> T | ScenarioError:
    try:
        return call()
    except ScenarioError as error:
        return error


def _read(content: bytes) -> None:
    document = _attempt(lambda: read_bytes(content, FILE))
    if isinstance(document, ScenarioError):
        assert str(document).startswith("fuzz.yaml")
        return
    assert set(_paths(document.data)) == set(document.values)
    assert all(at.line and at.column for at in document.values.values())


def _resolve(file: Path) -> Plan | None:
    plan = _attempt(lambda: resolve(file, catalogue=catalogue(), seed=1))
    if isinstance(plan, ScenarioError):
        assert plan.file
        assert plan.message
        return None
    json.dumps(plan.scenario, allow_nan=False)
    assert all(fault.end_s <= plan.arm_duration_s for fault in plan.faults)
    return plan


def _paths(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _paths(value, (*path, key))


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    _read(content)


@given(st.lists(fragments, max_size=30).map("".join))
def test_any_yaml_like_text(text: str) -> None:
    _read(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SHIPPED)), data=st.data())
def test_a_scenario_with_its_text_damaged(home: Path, name: str, data: st.DataObject) -> None:
    text = SHIPPED[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(fragments) + text[end:]
    (home / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    _resolve(home / name)


@settings(max_examples=120, deadline=None)
@given(name=st.sampled_from(sorted(SHIPPED)), data=st.data())
def test_a_scenario_with_a_value_replaced(home: Path, name: str, data: st.DataObject) -> None:
    document = read_bytes(SHIPPED[name].encode(), FILE)
    path = data.draw(st.sampled_from(sorted(_paths(document.data), key=str)))
    if path:
        document = document.replaced(path, data.draw(values), "")
    (home / "mutated.yaml").write_text(json.dumps(document.data), encoding="utf-8")
    _resolve(home / "mutated.yaml")


@settings(max_examples=150, deadline=None)
@given(
    model=st.sampled_from([{"rate": "20/s"}, {"rate": "20/s"}, {"model": "closed", "concurrency": "9"}, {}]),
    names=st.lists(st.sampled_from(["day", "rush"]), min_size=1, max_size=2, unique=True),
    data=st.data(),
)
def test_any_course_of_the_load(home: Path, model: dict[str, str], names: list[str], data: st.DataObject) -> None:
    document = read_bytes(SHIPPED["quickstart.yaml"].encode(), FILE)
    keys = st.fixed_dictionaries({}, optional={key: st.sampled_from(PHASE[key]) for key in PHASE})
    phases = [{"warm-up": "2s"}, *({name: "10s", **data.draw(keys)} for name in names)]
    load = {"users": "locustfiles/shop.py", **model, "phases": phases}
    document = document.replaced(("load",), load, "").replaced(("variants",), {}, "").replaced(("variant",), "", "")
    document = document.replaced(("faults",), [{"redis-down": {"at": "5s", "for": "1s"}}], "")
    (home / "course.yaml").write_text(json.dumps(document.data), encoding="utf-8")
    plan = _resolve(home / "course.yaml")
    if plan is not None and plan.load.model == "open":
        instants = list(islice(arrivals_of(plan.load), 5000))
        assert all(a <= b for a, b in pairwise(instants))
        assert all(0 <= t <= plan.arm_duration_s for t in instants)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["load.rate", "load.phases[2].spike", "faults[0].redis-down.at", "settings.pool_size", "variant"])
    | st.text(max_size=12),
    st.text(max_size=12) | st.sampled_from(ODD),
)
def test_any_override(path: str, value: str) -> None:
    quickstart, overrides = shipped("scenarios") / "quickstart.yaml", [f"{path}={value}"]
    plan = _attempt(lambda: resolve(quickstart, catalogue=catalogue(), overrides=overrides))
    assert plan.message if isinstance(plan, ScenarioError) else plan.faults


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_manifest_with_a_value_replaced(home: Path, data: st.DataObject) -> None:
    document = read_file(shipped("targets") / "sample-flask-app" / "target.yaml")
    path = data.draw(st.sampled_from(sorted(_paths(document.data), key=str)))
    if path:
        document = document.replaced(path, data.draw(values), "")
    (home / "target.yaml").write_text(json.dumps(document.data), encoding="utf-8")
    target = _attempt(lambda: load_target(home / "target.yaml"))
    if isinstance(target, ScenarioError):
        assert target.line
        return
    for preset in target.presets:
        assert all(isinstance(value, str) for value in target.environment(preset, {}).values())
