"""The image and the compose file say the same as the target's manifest and the pinned versions do."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.scenario.manifest import load_target

TARGET = Path(__file__).parents[3] / "targets" / "sample-flask-app"
TOP = TARGET.parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((TARGET / "compose.yaml").read_text())
    return loaded


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, one (instruction, rest) after the other."""
    lines = (TARGET / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    pairs = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return [(word, rest) for word, rest in pairs]


def test_the_compose_file_fits_the_compose_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(TARGET / "compose.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_image_copies_is_there_and_is_let_through() -> None:
    ignored = (TARGET / ".dockerignore").read_text().split()
    copied = [shlex.split(rest)[0] for word, rest in instructions() if word == "COPY"]
    assert copied == ["requirements.txt", "gunicorn.conf.py", "shop"]
    for name in copied:
        assert (TARGET / name).exists()
        assert f"!{name}" in ignored


def test_the_image_has_the_pinned_versions_of_everything_that_the_shop_imports() -> None:
    def pins(file: Path) -> dict[str, str]:
        found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==(\S+)$", file.read_text(), flags=re.MULTILINE)
        return {name.lower().replace("_", "-"): version for name, version in found}

    wanted = pins(TARGET / "requirements.txt")
    assert wanted.items() <= pins(TOP / "constraints.txt").items()
    sources = "\n".join(path.read_text() for path in TARGET.glob("**/*.py"))
    imported = set(re.findall(r"^(?:from|import) ([a-z][a-z_0-9]*)", sources, flags=re.MULTILINE))
    packages = {name.replace("psycopg_pool", "psycopg").replace("_", "-") for name in imported}
    assert packages - {"shop", "werkzeug"} - sys.stdlib_module_names == set(wanted)


def test_its_components_and_addresses_are_those_of_the_manifest(compose: dict[str, Any]) -> None:
    target = load_target(TARGET)
    services = compose["services"]
    assert set(services) == {*target.components, "toxiproxy", "reset"}
    assert services["app"]["deploy"]["replicas"] == target.processes["app"].replicas
    for name, process in target.processes.items():
        assert process.command[-1] in services[name].get("command", _default_command()), name
    needed = {name for name in target.processes["app"].environment if name.endswith("_URL")}
    assert set(services["app"]["environment"]) == needed
    assert target.reset is not None
    assert set(services["reset"]["environment"]) == set(target.reset.environment)
    assert services["reset"]["command"][1:] == list(target.reset.command[1:])


def _default_command() -> list[str]:
    (command,) = (rest for word, rest in instructions() if word == "CMD")
    parsed: list[str] = json.loads(command)
    return parsed


def test_every_edge_has_a_proxy_by_its_name_that_the_harness_can_reach(compose: dict[str, Any]) -> None:
    target = load_target(TARGET)
    proxies = {one["name"]: one for one in json.loads(compose["configs"]["proxies"]["content"])}
    names = {edge.replace("->", "-") for edge in target.edge_names}
    assert set(proxies) == names | {f"around-{name}" for name in names}
    published = compose["services"]["toxiproxy"]["ports"]
    called = "".join(compose["services"]["app"]["environment"].values())
    for name, proxy in proxies.items():
        port = proxy["listen"].rpartition(":")[2]
        assert f"127.0.0.1:{port}:{port}" in published
        edge = name.removeprefix("around-")
        assert proxy["upstream"].partition(":")[0] == edge.partition("-")[2]
        assert proxy["upstream"] == proxies[edge]["upstream"]
        assert (f"toxiproxy:{port}" in called) == (name == edge != "client-app")
    assert len(published) == len(proxies) + 1
    assert all(port.startswith("127.0.0.1:") for port in published), "to this machine only"
