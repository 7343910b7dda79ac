"""Phases in seconds, and instants such as `spike + 10s`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness import units
from harness.errors import nearest
from harness.plan import Phase, Segment
from harness.scenario.document import Document
from harness.scenario.models import LoadModel

WARM_UP = "warm-up"
_INSTANT = re.compile(r"(?P<phase>[a-z][a-z0-9_.-]*)(?:\s*\+\s*(?P<offset>.+))?")


def lay_out(load: LoadModel, document: Document) -> tuple[tuple[Phase, ...], tuple[Segment, ...]]:
    """The phases one after the other from second 0, and the arrival rate through them.

    A phase without a rate has the steady one. A ramp goes linearly from the rate before (0 before the first) to the
    phase's own, at the phase's start. Raises ScenarioError.
    """
    phases: list[Phase] = []
    segments: list[Segment] = []
    start, before = 0.0, 0.0
    for index, entry in enumerate(load.phases):
        path = ("load", "phases", index)
        if index == 0 and entry.name != WARM_UP:
            raise document.error(path, f"the first phase is `{entry.name}`", remedy=f"start with `{WARM_UP}: 5s`")
        if any(phase.name == entry.name for phase in phases):
            raise document.error(path, f"there are two phases `{entry.name}`", remedy="name them differently")
        rate = entry.rate.of(load.rate) if entry.rate else load.rate
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
