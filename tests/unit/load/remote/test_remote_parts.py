from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError, LoadError
from harness.load.remote.bundle import MAX_BYTES, pack, place, unpacked
from harness.load.remote.fleet import Bind
from harness.load.remote.protocol import LOST_AFTER_S, Silence, disagreement, identity
from harness.plan import Load, Segment
from harness.traces import Replay


def load(locustfile: Path) -> Load:
    return Load(str(locustfile), "uniform", (Segment(0, 1, 1, 1),), 1, 1, 1.0, 1.0)


def test_what_lies_beside_the_locustfile_travels(tmp_path):
    for name in ("shop.py", "helpers/__init__.py", "helpers/carts.py", "users.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in (".git/config", "__pycache__/shop.pyc", "env/pyvenv.cfg", "env/lib.py", ".secret"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not needed")
    packed, files = pack(load(tmp_path / "shop.py"))
    names = {"locust/shop.py", "locust/helpers/__init__.py", "locust/helpers/carts.py", "locust/users.csv"}
    assert set(files) == names
    assert all(path.read_text() == name.removeprefix("locust/") for name, path in files.items())
    assert packed.locustfile == "locust/shop.py"
    assert unpacked(packed, Path("/there")).locustfile == "/there/locust/shop.py"


def test_traces_travel_from_wherever_they_are(tmp_path):
    (tmp_path / "shop.py").touch()
    (tmp_path / "elsewhere").mkdir()
    traces = []
    for day in ("monday", "tuesday"):
        (tmp_path / "elsewhere" / day).mkdir()
        (tmp_path / "elsewhere" / day / "trace.csv").write_text(day)
        traces.append(Replay(0.0, 1.0, str(tmp_path / "elsewhere" / day / "trace.csv")))
    packed, files = pack(replace(load(tmp_path / "shop.py"), traces=tuple(traces)))
    assert [files[trace.file].read_text() for trace in packed.traces] == ["monday", "tuesday"]
    there = unpacked(packed, Path("/there"))
    assert [trace.file for trace in there.traces] == ["/there/traces/0-trace.csv", "/there/traces/1-trace.csv"]


def test_a_whole_project_is_refused(tmp_path):
    (tmp_path / "shop.py").touch()
    with (tmp_path / "video").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(LoadError, match="16 MiB"):
        pack(load(tmp_path / "shop.py"))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "locust/../../x", "", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    with pytest.raises(LoadError, match="does not belong"):
        place(name, tmp_path)


def test_bind_takes_an_address_with_or_without_a_port():
    assert Bind.parse("10.1.0.1:6000") == Bind("10.1.0.1", 6000)
    assert str(Bind.parse("loadmaster")) == "loadmaster:5557"


@pytest.mark.parametrize("text", ["0.0.0.0:5557", "*", "", ":5557", "host:", "host:none", "host:70000", "[::]:5557"])
def test_bind_refuses_what_is_not_one_address(text):
    with pytest.raises(HarnessError, match="not the address of one host"):
        Bind.parse(text)


def test_versions_must_agree():
    here = identity()
    assert disagreement(here, here) == ""
    for key in ("protocol", "harness", "locust", "python"):
        why = disagreement(here, {**here, key: "0", "host": "far"})
        assert "far has version 0" in why
        assert "install the same" in why
    assert disagreement(here, {})


def test_silence_is_counted_in_turns_of_our_own():
    silence = Silence()
    turns = int(LOST_AFTER_S / Silence.TURN_S)
    assert [silence.turn() for _ in range(turns)] == [False] * turns
    silence.broken()
    assert [silence.turn() for _ in range(turns + 1)][-2:] == [False, True]
