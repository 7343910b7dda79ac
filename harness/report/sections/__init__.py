"""The sections of the report: one file each, which registers one function with `@section`.

A section is a pure function of a `Context`. It returns a `Part`, or None when the run has nothing for it.
Files in this folder are found by themselves; `order` says where the section stands.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from harness.report.charts import Figure
from harness.report.context import Context
from harness.report.markup import Markup


@dataclass(frozen=True, slots=True)
class Part:
    """What a section puts on the page: its HTML, and the figures whose places are in it."""

    html: Markup
    figures: tuple[Figure, ...] = ()


Draw = Callable[[Context], Part | None]


@dataclass(frozen=True, slots=True)
class Section:
    """A section: `id` is its anchor, `title` its heading, `short` its name in the contents."""

    id: str
    title: str
    short: str
    order: int
    draw: Draw


_registered: dict[str, Section] = {}


def section(*, id: str, title: str, short: str, order: int) -> Callable[[Draw], Draw]:
    """Register a function as the section `id`. Raises ValueError when there is one of that id or order already."""

    def register(draw: Draw) -> Draw:
        for other in _registered.values():
            if other.draw.__module__ != draw.__module__ and (other.id == id or other.order == order):
                raise ValueError(f"section {id} (order {order}) clashes with {other.id} (order {other.order})")
        _registered[id] = Section(id, title, short, order, draw)
        return draw

    return register


def sections() -> tuple[Section, ...]:
    """All sections, in the order of the page."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted(_registered.values(), key=lambda one: one.order))
