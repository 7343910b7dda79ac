"""`--set load.rate=200/s`: single values of a scenario, given on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ScenarioError, nearest
from harness.scenario.document import Document, Keys, dotted
from harness.scenario.source import read_value

_FORM = re.compile(r"(?P<path>[^=\s]+)=(?P<value>.*)", re.DOTALL)
_STEP = re.compile(r"(?P<key>[^.\[\]]+)|\[(?P<index>[0-9]{1,6})\]|(?P<dot>\.)")


def apply(document: Document, overrides: Sequence[str]) -> Document:
    """The document with the overrides put in, in order. Whether the keys exist is for the models to say.

    Raises ScenarioError: not of the form `path=value`, or a path that leads through something that has no keys.
    """
    for text in overrides:
        origin = f"--set {text}"
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ScenarioError("expected `path=value`", file=origin, remedy="for example --set load.rate=200/s")
        path = _path(match["path"], origin)
        _check_way(document, path, origin)
        document = document.replaced(path, read_value(match["value"].strip(), Path(origin)), origin)
    return document


def _path(text: str, origin: str) -> Keys:
    path: list[str | int] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ScenarioError(
                f"can't read the path `{text}`", file=origin, remedy="write it like faults[0].latency.for"
            )
        if match["key"]:
            path.append(match["key"])
        elif match["index"]:
            path.append(int(match["index"]))
        at = match.end()
    return tuple(path)


def _check_way(document: Document, path: Keys, origin: str) -> None:
    """Every step but the last must lead into something that is there, or into a mapping that can be made."""
    for length, key in enumerate(path):
        here, value = path[:length], document.get(path[:length])
        where = dotted(here) or "the scenario"
        if isinstance(value, list) and (not isinstance(key, int) or key >= len(value)):
            choices = [f"[{index}]" for index in range(len(value))]
            raise ScenarioError(f"`{where}` is a list", file=origin, remedy=nearest(f"[{key}]", choices))
        if isinstance(value, str) or (isinstance(key, int) and not isinstance(value, list)):
            raise ScenarioError(f"`{where}` has nothing called `{key}` in it", file=origin, remedy=_inside(value))


def _inside(value: object) -> str:
    return nearest("", value) if isinstance(value, dict) else f"it is {'absent' if value is None else f'`{value}`'}"
