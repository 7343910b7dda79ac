"""The fault catalogue for people and programs: what `harness faults` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import units
from harness.faults.base import CAPABILITIES, FaultType, Param

_WRITTEN = {
    "duration": units.format_duration,
    "percentage": units.format_percentage,
    "size": units.format_size,
    "rate": units.format_rate,
    "byte-rate": units.format_byte_rate,
}

_WORTH_SAYING = CAPABILITIES.keys() - {"edge", "process", "region"}
"""What not every place has that a fault of its kind may be on."""


def as_data(types: Mapping[str, FaultType]) -> list[dict[str, Any]]:
    """JSON-ready: name, family, summary, place, parameters."""
    return [
        {
            "name": one.name,
            "family": one.family,
            "summary": one.summary,
            "place": one.place,
            "default_place": one.default_place,
            "many": one.many,
            "momentary": one.momentary,
            "needs": one.capability,
            "protocol": one.protocol,
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


def as_markdown(types: Mapping[str, FaultType]) -> str:
    """The page `docs/faults.md`: a table per family."""
    families = sorted({one.family for one in types.values()})
    return "\n".join([_PREFACE, *(_family(family, types) for family in families)])


_PREFACE = """# Faults

Made by `harness faults --markdown`. A fault stands in a scenario with where, when and how long:
`latency: {on: app->postgres, at: spike + 5s, for: 10s, latency: 150ms}`. Its effect is confirmed by a probe before the
time counts, and so is its end. Two faults in one place exclude each other while they overlap, unless both are of
different layers and neither makes the other one's effect invisible (a fault on an edge may outlast what is at its far
end by two seconds before and after: then its beginning and its end are seen) or impossible (what needs a process to
run excludes layer `process`, and begins five seconds after its end at the earliest). A fault that acts in one moment
still gets a `for`: so long its consequences are compared.
"""


def _family(family: str, types: Mapping[str, FaultType]) -> str:
    rows = [
        f"| `{one.name}` | {_cell(one.summary)} | {_place(one)} | {one.layer or '-'} | {_parameters(one)} |"
        for one in types.values()
        if one.family == family
    ]
    return "\n".join(
        [f"## {family}\n", "| fault | what happens | on | layer | parameters |", "|" + " --- |" * 5, *rows, ""]
    )


def _place(one: FaultType) -> str:
    words = one.place + (", or several" if one.many else "") + (f" that speaks {one.protocol}" if one.protocol else "")
    words += f" that {CAPABILITIES[one.capability]}" if one.capability in _WORTH_SAYING else ""
    default = f"; default `{one.default_place}`" if one.default_place else ""
    return f"{words}{default}{'; in a moment' if one.momentary else ''}"


def _parameters(one: FaultType) -> str:
    params = (f"`{name}`: {_cell(param.help)}{_default(param)}" for name, param in one.params.items())
    return "<br>".join(params) or "-"


def _cell(text: str) -> str:
    return text.rstrip(".").replace("|", "\\|")


def _paragraph(one: FaultType) -> str:
    lines = [f"{one.name}  [{one.family}]", f"  {one.summary}", *_where(one)]
    lines += [f"  {name}: {param.kind}{_default(param)}  {param.help}" for name, param in one.params.items()]
    return "\n".join(lines)


def _where(one: FaultType) -> list[str]:
    if one.place == "clients":
        return []
    what = "an edge such as app->postgres" if one.place == "edge" else "a component, or one of its replicas"
    default = f" (default {one.default_place})" if one.default_place else " (required)"
    return [f"  on: {what}{', or several' if one.many else ''}{default}"]


def _default(param: Param) -> str:
    if param.required:
        return ", required."
    if param.default is None:
        return "."
    return f", default {_WRITTEN.get(param.kind, str)(param.default)}."
