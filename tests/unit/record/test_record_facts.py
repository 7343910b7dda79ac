"""Facts of the machine, and nothing that names it."""

import getpass
import json
import os
import platform
from pathlib import Path

import harness
from harness.record import facts


def test_versions_name_the_harness_and_what_it_stands_on():
    versions = facts.versions()
    assert versions["harness"] == harness.__version__
    assert versions["python"] == platform.python_version()
    assert {"locust", "numpy", "pyarrow", "scipy"} <= set(versions)


def test_a_dependency_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(facts, "DEPENDENCIES", ("numpy", "no-such-distribution"))
    assert set(facts.versions()) == {"python", "harness", "numpy"}


def test_the_host_is_described_in_numbers():
    host = facts.host()
    assert 1 <= host["cores_usable"] <= host["cores"]
    assert host["memory_bytes"] > 2**20


def test_nothing_names_the_machine_its_user_or_its_folders():
    text = json.dumps([facts.host(), facts.versions()])
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert os.sep + "usr" not in text
    assert getpass.getuser() not in text.lower().split()
