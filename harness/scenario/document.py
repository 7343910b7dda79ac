"""A YAML file as plain data in which every value knows where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ScenarioError

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value starts: line and column, both 1-based. `origin` is set when it came from the command line."""

    line: int | None
    column: int | None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as data: dicts, lists and strings. `values` and `keys` map a path to where they stand."""

    file: Path
    data: dict[str, Any]
    values: Mapping[Keys, Position]
    keys: Mapping[Keys, Position]

    def error(self, path: Keys, message: str, *, remedy: str = "") -> ScenarioError:
        """A ScenarioError about the value at `path`; its line is the nearest enclosing value's that is in the file."""
        found = next(
            (self.values[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.values), Position(1, 1)
        )
        return self._error(found, path, message, remedy)

    def key_error(self, path: Keys, message: str, *, remedy: str = "") -> ScenarioError:
        """A ScenarioError about the key at the end of `path`."""
        if path not in self.keys:
            return self.error(path, message, remedy=remedy)
        return self._error(self.keys[path], path, message, remedy)

    def _error(self, at: Position, path: Keys, message: str, remedy: str) -> ScenarioError:
        file = at.origin or self.file
        return ScenarioError(message, file=file, line=at.line, column=at.column, field=dotted(path), remedy=remedy)

    def get(self, path: Keys) -> Any:
        """The value at `path`, or None."""
        value: Any = self.data
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def grafted(self, source: Keys, destination: Keys, *, levels: int) -> Document:
        """A copy in which the mapping at `source` is merged over the one at `destination`, positions and all.

        Mappings are merged `levels` deep; below that the value of `source` replaces the other one whole.
        """
        patch = self.get(source)
        if patch is None:
            return self
        return dataclasses.replace(
            self,
            data=_put(self.data, destination, _merged(self.get(destination), patch, levels)),
            values={**self.values, **_moved(self.values, source, destination)},
            keys={**self.keys, **_moved(self.keys, source, destination)},
        )

    def replaced(self, path: Keys, value: Any, origin: str) -> Document:
        """A copy in which `value`, which came from `origin`, stands at `path`."""
        new = [path[:length] for length in range(1, len(path)) if self.get(path[:length]) is None]
        here = dict.fromkeys([*new, path], Position(None, None, origin))
        return dataclasses.replace(
            self,
            data=_put(self.data, path, value),
            values={**_without(self.values, path), **here},
            keys={**_without(self.keys, path), **here},
        )


def dotted(path: Sequence[str | int]) -> str:
    """`load.phases[2].ramp`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _moved(positions: Mapping[Keys, Position], source: Keys, destination: Keys) -> dict[Keys, Position]:
    depth = len(source)
    return {
        (*destination, *path[depth:]): at
        for path, at in positions.items()
        if len(path) > depth and path[:depth] == source
    }


def _without(positions: Mapping[Keys, Position], path: Keys) -> dict[Keys, Position]:
    return {where: at for where, at in positions.items() if where[: len(path)] != path}


def _put(data: Any, path: Keys, value: Any) -> Any:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(key, int):
        return [_put(item, rest, value) if index == key else item for index, item in enumerate(data)]
    below = data if isinstance(data, dict) else {}
    return {**below, key: _put(below.get(key), rest, value)}


def _merged(below: Any, above: Any, levels: int) -> Any:
    if levels and isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value, levels - 1) for key, value in above.items()}}
    return above
