"""Phases in seconds, and instants such as `spike + 10s`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness import units
from harness.errors import nearest
from harness.plan import Phase, Segment
from harness.scenario.document import Document, Keys
from harness.scenario.models import LoadModel, PhaseEntry

WARM_UP = "warm-up"
_INSTANT = re.compile(r"(?P<phase>[a-z][a-z0-9_.-]*)(?:\s*\+\s*(?P<offset>.+))?")


def lay_out(load: LoadModel, document: Document) -> tuple[tuple[Phase, ...], tuple[Segment, ...]]:
    """The phases one after the other from second 0, and the arrival rate through them.

    A phase without a rate has the steady one. A ramp goes linearly from the rate before (0 before the first) to the
    phase's own, at the phase's start. In the closed model the same is done with numbers of users. Raises ScenarioError.
    """
    steady = _steady(load, document)
    phases: list[Phase] = []
    segments: list[Segment] = []
    start, before = 0.0, 0.0
    for index, entry in enumerate(load.phases):
        path = ("load", "phases", index)
        if index == 0 and entry.name != WARM_UP:
            raise document.error(path, f"the first phase is `{entry.name}`", remedy=f"start with `{WARM_UP}: 5s`")
        if any(phase.name == entry.name for phase in phases):
            raise document.error(path, f"there are two phases `{entry.name}`", remedy="name them differently")
        rate = _rate(entry, load, steady, document, path)
        end = round(start + entry.duration, 9)
        flat_from = start
        if entry.ramp is not None:
            flat_from = round(start + entry.ramp, 9)
            segments.append(Segment(start, flat_from, before, rate))
        if flat_from < end:
            segments.append(Segment(flat_from, end, rate, rate))
        phases.append(Phase(entry.name, start, end, rate))
        start, before = end, rate
    return tuple(phases), tuple(segments)


def _steady(load: LoadModel, document: Document) -> float:
    """The steady level of the load, in the unit of its model."""
    if load.model == "open":
        if load.concurrency is not None:
            raise document.key_error(
                ("load", "concurrency"),
                "belongs to the closed model",
                remedy="give a `rate` such as `rate: 120/s`, or say `model: closed`",
            )
        if load.rate is None:
            raise document.error(("load", "rate"), "is missing", remedy=_purpose("rate"))
        return load.rate
    for name in ("rate", "arrivals", "pool"):
        if name in load.model_fields_set:
            raise document.key_error(
                ("load", name),
                "belongs to the open model; in the closed one the next request comes when a user has had its answer",
                remedy="give only `concurrency`, such as `concurrency: 50`, or leave `model: closed` out",
            )
    if load.concurrency is None:
        raise document.error(("load", "concurrency"), "is missing", remedy=_purpose("concurrency"))
    return load.concurrency


def _purpose(name: str) -> str:
    return LoadModel.model_fields[name].description or ""


def _rate(entry: PhaseEntry, load: LoadModel, steady: float, document: Document, path: Keys) -> float:
    """The level of a phase: arrivals per second, or a whole number of users."""
    if load.model == "open":
        if entry.concurrency is not None:
            raise document.key_error(
                (*path, "concurrency"), "belongs to the closed model", remedy="give a `rate`, such as `rate: +30%`"
            )
        return entry.rate.of(steady) if entry.rate else steady
    if entry.rate is not None:
        raise document.key_error(
            (*path, "rate"),
            "belongs to the open model",
            remedy="give a `concurrency`, such as `concurrency: +30%`",
        )
    return max(1.0, float(round(entry.concurrency.of(steady)))) if entry.concurrency else steady


def instant(text: str, phases: Sequence[Phase]) -> float:
    """Seconds since the arm's start of `spike + 10s`, `steady` or `25s`.

    Raises ValueError: not an instant, an unknown phase, outside its phase, in the warm-up, or past the end.
    """
    if text[:1].isdigit():
        at = units.parse_duration(text)
        if at >= phases[-1].end_s:
            raise ValueError(f"`{text}` is past the end of the last phase at {units.format_duration(phases[-1].end_s)}")
    else:
        at = _in_phase(text, phases)
    if at < phases[0].end_s:
        raise ValueError(f"`{text}` is in the warm-up, which no comparison looks at; `{phases[1].name}` comes after it")
    return at


def phase_at(at_s: float, phases: Sequence[Phase]) -> Phase:
    """The phase that the second `at_s` of an arm belongs to (the last one at the very end)."""
    return next((phase for phase in phases if phase.start_s <= at_s < phase.end_s), phases[-1])


def _in_phase(text: str, phases: Sequence[Phase]) -> float:
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected an instant such as `spike + 10s`, `spike` or `25s`, got `{text}`")
    named = {phase.name: phase for phase in phases}
    if match["phase"] not in named:
        raise ValueError(f"no phase `{match['phase']}`; {nearest(match['phase'], named)}")
    phase = named[match["phase"]]
    offset = units.parse_duration(match["offset"]) if match["offset"] else 0.0
    length = round(phase.end_s - phase.start_s, 9)
    if offset >= length:
        raise ValueError(f"`{text}` is outside its phase, which lasts {units.format_duration(length)}")
    return round(phase.start_s + offset, 9)
