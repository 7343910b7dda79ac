"""The fault catalogue for people and programs: what `harness faults` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.faults.base import FaultType, Param
from harness.units import format_duration, format_percentage


def as_data(types: Mapping[str, FaultType]) -> list[dict[str, Any]]:
    """JSON-ready: name, family, summary, place, parameters."""
    return [
        {
            "name": one.name,
            "family": one.family,
            "summary": one.summary,
            "place": one.place,
            "default_place": one.default_place,
            "parameters": {
                name: {"kind": param.kind, "required": param.required, "default": param.default, "help": param.help}
                for name, param in one.params.items()
            },
        }
        for one in types.values()
    ]


def as_text(types: Mapping[str, FaultType]) -> str:
    """One fault with its parameters per paragraph."""
    return "\n\n".join(_paragraph(one) for one in types.values())


def _paragraph(one: FaultType) -> str:
    where = f"on: {'an edge such as app->postgres' if one.place == 'edge' else 'a component'}"
    where += f" (default {one.default_place})" if one.default_place else " (required)"
    lines = [f"{one.name}  [{one.family}]", f"  {one.summary}", f"  {where}"]
    lines += [f"  {name}: {param.kind}{_default(param)}  {param.help}" for name, param in one.params.items()]
    return "\n".join(lines)


def _default(param: Param) -> str:
    if param.required:
        return ", required."
    if param.default is None:
        return "."
    written = {"duration": format_duration, "percentage": format_percentage}.get(param.kind, str)(param.default)
    return f", default {written}."
