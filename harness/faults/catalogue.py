"""The fault catalogue: `@fault(...)` registers a fault, `catalogue()` lists what is there.

Faults of other packages are found through the entry point group `harness.faults`: importing the named module is all
that is needed, its `@fault` decorators do the rest.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points

import harness.faults.families
from harness.faults.base import Fault, FaultType, Param, Place

_registered: dict[str, FaultType] = {}


def fault(
    name: str,
    *,
    family: str,
    place: Place,
    params: Mapping[str, Param] | None = None,
    default_place: str = "",
    capability: str = "edge",
    protocol: str = "",
    many: bool = False,
    layer: str = "",
    excludes: tuple[str, ...] = (),
    momentary: bool = False,
) -> Callable[[type[Fault]], type[Fault]]:
    """Class decorator: put a fault into the catalogue (see `FaultType`); its docstring's first line is its summary.

    Raises ValueError when the name is taken.
    """

    def register(made: type[Fault]) -> type[Fault]:
        if name in _registered:
            raise ValueError(f"the fault {name!r} is registered twice")
        summary = (made.__doc__ or "").strip().splitlines()[0]
        _registered[name] = FaultType(
            name=name,
            family=family,
            summary=summary,
            place=place,
            make=made,
            refusal=made.refusal,
            out_at_once=made.out_at_once,
            params=dict(params or {}),
            default_place=default_place,
            capability=capability,
            protocol=protocol,
            many=many,
            layer=layer,
            excludes=excludes,
            momentary=momentary,
        )
        return made

    return register


@cache
def catalogue() -> Mapping[str, FaultType]:
    """All faults by name: the shipped families, then those of installed plugins."""
    for module in pkgutil.iter_modules(harness.faults.families.__path__):
        importlib.import_module(f"{harness.faults.families.__name__}.{module.name}")
    for plugin in entry_points(group="harness.faults"):
        plugin.load()
    return dict(sorted(_registered.items()))
