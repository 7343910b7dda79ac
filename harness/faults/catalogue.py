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
from typing import Literal

import harness.faults.families
from harness.faults.base import Fault, FaultableStack, FaultType, Param
from harness.plan import PlannedFault

Make = Callable[[PlannedFault, FaultableStack], Fault]
_registered: dict[str, FaultType] = {}


def fault(
    name: str,
    *,
    family: str,
    place: Literal["edge", "component"],
    params: Mapping[str, Param] | None = None,
    default_place: str = "",
    capability: str = "edges",
) -> Callable[[type[Fault]], type[Fault]]:
    """Class decorator: put a fault into the catalogue. The first line of its docstring is its summary.

    Raises ValueError when the name is taken.
    """

    def register(made: type[Fault]) -> type[Fault]:
        if name in _registered:
            raise ValueError(f"the fault {name!r} is registered twice")
        summary = (made.__doc__ or "").strip().splitlines()[0]
        make: Make = made
        _registered[name] = FaultType(name, family, summary, place, make, dict(params or {}), default_place, capability)
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
