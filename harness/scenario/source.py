"""YAML as plain data with positions: every scalar a string, every value with its line, nothing clever.

YAML 1.1 reads `on`, `12:30`, `1e3` and `0777` as something else than what stands there; here they stay what they are,
and the models give them a type. Whatever is wrong with a file becomes a ScenarioError, never another exception.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ScenarioError
from harness.scenario.document import Document, Keys, Position

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 40

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


def read_file(file: Path) -> Document:
    """Read a YAML file whose top level is a mapping. Raises ScenarioError for anything else."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(f"cannot be read: {reason}", file=file, remedy="give the path of a YAML file") from error
    return read_bytes(content, file)


def read_bytes(content: bytes, file: Path) -> Document:
    """Read YAML from memory; `file` is named in errors. Raises ScenarioError."""
    if len(content) > MAX_BYTES:
        raise ScenarioError(f"larger than {MAX_BYTES >> 20} MiB", file=file, remedy="this can't be a scenario")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError("not UTF-8 text", file=file, line=line, remedy="save the file as UTF-8") from error
    walk = _Walk(file)
    data = walk.plain(parse_node(text, file), ())
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "plain text"
        raise ScenarioError(
            f"expected keys and values at the top level, got {kind}", file=file, line=1, remedy="start with `name: ...`"
        )
    return Document(file, data, walk.values, walk.keys)


def read_value(text: str, file: Path) -> Any:
    """A value given on the command line: a list or mapping in YAML's flow style, else the text as it stands."""
    if not text.startswith(("[", "{")):
        return text
    return _Walk(file).plain(parse_node(text, file), ())


def parse_node(text: str, file: Path) -> yaml.Node:
    """The node tree of the one document in `text`. Raises ScenarioError."""
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ScenarioError(
            f"character U+{error.character:04X} is not allowed", file=file, line=line, remedy="remove it"
        ) from error
    except RecursionError as error:
        raise ScenarioError("nested too deeply", file=file, remedy=f"at most {MAX_DEPTH} levels") from error
    # PyYAML lets int() and chr() fail on oversized numbers in escapes and directives.
    except (ValueError, OverflowError) as error:
        raise ScenarioError(f"not YAML: {error}", file=file, remedy="check escapes such as `\\U...`") from error
    if node is None:
        raise ScenarioError("the file is empty", file=file, line=1, remedy="`harness init` writes one to start from")
    return node


class _Loader(yaml.BaseLoader):
    """Composes nodes and stops early when there are too many or they nest too deeply."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES} values", problem_mark=mark)
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass(slots=True)
class _Walk:
    """Turns nodes into data. The number of visits is bounded: an alias costs as much as what it stands for."""

    file: Path
    values: dict[Keys, Position] = field(default_factory=dict)
    keys: dict[Keys, Position] = field(default_factory=dict)
    visits: int = 0

    def plain(self, node: yaml.Node, path: Keys) -> Any:
        self.visits += 1
        if self.visits > MAX_NODES or len(path) > MAX_DEPTH:
            raise _at(node, self.file, "aliases (`*name`) that expand without end", "write the values out")
        if node.tag not in _PLAIN_TAGS:
            raise _at(node, self.file, f"the tag `{node.tag}` is not supported", "remove the tag; all values are text")
        self.values[path] = _position(node)
        if isinstance(node, yaml.MappingNode):
            return {key: self.plain(child, (*path, key)) for key, child in self._entries(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*path, index)) for index, child in enumerate(node.value)]
        return _scalar(node, self.file)

    def _entries(self, node: yaml.MappingNode, path: Keys) -> Iterator[tuple[str, yaml.Node]]:
        here: set[str] = set()
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node, self.file, "expected a word as a key", "a key can't be a list or a mapping")
            key = _scalar(key_node, self.file)
            if key == "<<":
                raise _at(key_node, self.file, "merge keys (`<<`) are not supported", "write the values out")
            if key in here:
                first = self.keys[*path, key].line
                raise _at(key_node, self.file, f"the key `{key}` is there twice", f"it is on line {first} already")
            here.add(key)
            self.keys[*path, key] = _position(key_node)
            yield key, child


def _scalar(node: yaml.Node, file: Path) -> str:
    text = str(node.value).rstrip("\n")
    for character in text:
        if character != "\n" and unicodedata.category(character) in ("Cc", "Cs"):
            raise _at(node, file, f"character U+{ord(character):04X} in a text is not allowed", "remove it")
    return text


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _at(node: yaml.Node, file: Path, message: str, remedy: str) -> ScenarioError:
    at = _position(node)
    return ScenarioError(message, file=file, line=at.line, column=at.column, remedy=remedy)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: Path) -> ScenarioError:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "not YAML"
    line = mark.line + 1 if mark else None
    column = mark.column + 1 if mark else None
    source = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    message, remedy = f"not YAML: {problem}", "check the indentation, the colons and the quotes around here"
    if "\\t" in problem or "\t" in source[: len(source) - len(source.lstrip())]:
        message, remedy = "a tab where YAML wants spaces", "indent with spaces"
    elif "expected a single document" in (error.context or ""):
        message, remedy = "more than one document in the file", "remove the `---` and what follows, or make two files"
    elif problem.startswith(("nested more", "more than")):
        message, remedy = problem, "this can't be a scenario"
    elif "mapping values are not allowed" in problem:
        remedy = "put the text in quotes when it contains a colon, and check the indentation"
    return ScenarioError(message, file=file, line=line, column=column, remedy=remedy)
