"""YAML as plain data with positions."""

import os
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.document import Position
from harness.scenario.source import MAX_BYTES, read_bytes, read_file

FILE = Path("some.yaml")
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 10)) for name in b"bcdefghi"
)


def test_every_scalar_is_the_text_that_stands_there() -> None:
    text = b"on: off\nwhen: 12:30\nmuch: 1e3\nmode: 0777\nnone: ~\nempty:\nlist: [yes, 1.0, null]\n"
    assert read_bytes(text, FILE).data == {
        "on": "off",
        "when": "12:30",
        "much": "1e3",
        "mode": "0777",
        "none": "~",
        "empty": "",
        "list": ["yes", "1.0", "null"],
    }


def test_every_value_and_key_knows_its_place() -> None:
    document = read_bytes(b"a: 1\nb:\n  - c: {d: 2}\n", FILE)
    assert document.values["b", 0, "c", "d"] == Position(3, 12)
    assert document.keys["b", 0, "c", "d"] == Position(3, 9)
    error = document.error(("b", 0, "c", "absent", 3), "is wrong", remedy="do this")
    assert (error.line, error.column, error.field) == (3, 8, "b[0].c.absent[3]")
    assert str(error) == "some.yaml:3:8: b[0].c.absent[3]: is wrong\n  do this"


def test_an_alias_is_the_value_it_stands_for() -> None:
    assert read_bytes(b"a: &x {b: [1]}\nc: *x\n", FILE).data == {"a": {"b": ["1"]}, "c": {"b": ["1"]}}


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"", 1, "empty"),
        (b"# only a comment\n", 1, "empty"),
        (b"- a\n", 1, "got a list"),
        (b"a text\n", 1, "got plain text"),
        (b"a: 1\nb: 2\na: 3\n", 3, "`a` is there twice"),
        (b"a:\n\tb: 1\n", 2, "a tab where YAML wants spaces"),
        (b"a: 1\n---\nb: 2\n", 2, "more than one document"),
        (b"a: 1\nb: \xff\xfe\n", 2, "not UTF-8"),
        (b"a: 1\nb: \x00\n", 2, "U+0000"),
        (b'a: 1\nb: "\\e[2J"\n', 2, "U+001B"),
        (b'a: "\\ud800"\n', 1, "U+D800"),
        (b"a: b: c\n", 1, "not YAML"),
        (b"a: [1, 2\n", 2, "not YAML"),
        (b"a: 1\nb: *nothing\n", 2, "not YAML"),
        (b"a: !!python/object:os.system x\n", 1, "tag"),
        (b"a: 1\nb: {<<: {c: 1}}\n", 2, "merge keys"),
        (b"a: 1\n? [b]\n: c\n", 2, "expected a word as a key"),
        (b"a: 1\nb: &b [*b]\n", 2, "aliases"),
        (BOMB, 1, "aliases"),
        (b"a: " + b"[" * 100_000, 1, "levels"),
        (b"a: " + b"{b: " * 5_000, 1, "levels"),
        (b"- x\n" * 30_000, 20_000, "more than 20000 values"),
        (b'a: "\\U99999999"\n', None, "not YAML"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na: 1\n", None, "not YAML"),
        (b"#" * (MAX_BYTES + 1), None, "larger than 1 MiB"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: bytes, line: int | None, said: str) -> None:
    with pytest.raises(ScenarioError, match=r"^some\.yaml") as caught:
        read_bytes(content, FILE)
    assert said in caught.value.message
    assert caught.value.line == line
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["absent.yaml", ".", "x" * 300])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_file(tmp_path / name)


def test_a_huge_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ScenarioError, match="larger"):
        read_file(Path(os.devnull).with_name("zero"))


def test_a_graft_moves_values_with_their_places() -> None:
    document = read_bytes(
        b"load: {rate: 1, retries: {a: {x: 1}, b: {x: 1}}}\nv:\n  load: {retries: {a: {y: 2}}}\n", FILE
    )
    merged = document.grafted(("v", "load"), ("load",), levels=2)
    assert merged.data["load"] == {"rate": "1", "retries": {"a": {"y": "2"}, "b": {"x": "1"}}}
    assert merged.error(("load", "retries", "a", "y"), "").line == 3
    assert merged.error(("load", "rate"), "").line == 1
    assert document.data["load"]["retries"]["a"] == {"x": "1"}
