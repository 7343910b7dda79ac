"""Phases in seconds, and instants such as `spike + 10s`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.errors import nearest
from harness.plan import Phase
from harness.scenario.document import Document, Keys
from harness.scenario.models import Level, LoadModel, PhaseEntry
from harness.shapes import Segment, Wave
from harness.traces import Replay

WARM_UP = "warm-up"
_INSTANT = re.compile(r"(?P<phase>[a-z][a-z0-9_.-]*)(?:\s*\+\s*(?P<offset>.+))?")


@dataclass(frozen=True, slots=True)
class Course:
    """How the load goes through the phases: pieces that take turns, each kind in order."""

    segments: tuple[Segment, ...]
    waves: tuple[Wave, ...]
    traces: tuple[Replay, ...]
    peak: float
    """The highest rate (1/s) or number of users."""

    def then(self, segments: tuple[Segment, ...]) -> Course:
        """This, and after it `segments`, which don't go higher."""
        return dataclasses.replace(self, segments=self.segments + segments)


def lay_out(load: LoadModel, document: Document) -> tuple[tuple[Phase, ...], Course]:
    """The phases one after the other from second 0, and the load through them.

    A phase without a rate has the steady one. A ramp goes linearly from the rate before (0 before the first) to the
    phase's own, at the phase's start. In the closed model the same is done with numbers of users. Traces are read.
    Raises ScenarioError.
    """
    steady = _steady(load, document)
    phases: list[Phase] = []
    segments: list[Segment] = []
    waves: list[Wave] = []
    traces: list[Replay] = []
    peaks: list[float] = []
    start, before = 0.0, 0.0
    for index, entry in enumerate(load.phases):
        path = ("load", "phases", index)
        if index == 0 and entry.name != WARM_UP:
            raise document.error(path, f"the first phase is `{entry.name}`", remedy=f"start with `{WARM_UP}: 5s`")
        if any(phase.name == entry.name for phase in phases):
            raise document.error(path, f"there are two phases `{entry.name}`", remedy="name them differently")
        end = round(start + entry.duration, 9)
        rate = _rate(entry, load, steady, document, path)
        flat_from = start
        if entry.ramp is not None:
            flat_from = round(start + entry.ramp, 9)
            segments.append(Segment(start, flat_from, before, rate))
        if entry.trace is not None:
            replay, peak = _replay(entry, start, end, document, path)
            traces.append(replay)
            peaks.append(peak)
            rate = round(replay.arrivals / (end - start), 9)
        elif entry.sine is not None and entry.period is not None and flat_from < end:
            amplitude = _amplitude(entry.sine, rate, steady, document, path)
            waves.append(Wave(flat_from, end, rate, amplitude, entry.period))
        elif flat_from < end:
            segments.append(Segment(flat_from, end, rate, rate))
        phases.append(Phase(entry.name, start, end, rate))
        start, before = end, rate
    peaks += [segment.peak for segment in segments] + [wave.peak for wave in waves]
    return tuple(phases), Course(tuple(segments), tuple(waves), tuple(traces), max(peaks))


def _amplitude(sine: Level, rate: float, steady: float, document: Document, path: Keys) -> float:
    amplitude = round(steady * sine.value, 9) if sine.relative else sine.value
    if amplitude > rate:
        raise document.error(
            (*path, "sine"),
            f"the rate would go below zero, by {units.format_rate(amplitude)} from {units.format_rate(rate)}",
            remedy="percentages are of the steady rate",
        )
    return amplitude


def _replay(entry: PhaseEntry, start: float, end: float, document: Document, path: Keys) -> tuple[Replay, float]:
    """The section of a trace that a phase replays, and its peak rate."""
    file = (document.file.resolve().parent / str(entry.trace)).resolve()
    if not file.is_file():
        remedy = "give a path relative to the scenario file"
        raise document.error((*path, "trace"), f"no trace at {file}", remedy=remedy)
    replay = Replay(
        start,
        end,
        str(file),
        from_s=entry.from_ or 0.0,
        speed=entry.speed or 1.0,
        scale=1.0 if entry.rate is None else round(1 + entry.rate.value, 9),
    )
    trace = replay.read()
    if trace.rates is None and trace.ended and trace.end_s < replay.from_s + 0.9 * (replay.until_s - replay.from_s):
        left_s = (trace.end_s - replay.from_s) / replay.speed
        raise document.error(
            (*path, "trace"),
            f"the trace ends {units.format_duration(round(left_s, 6))} into a phase of "
            f"{units.format_duration(entry.duration)}",
            remedy="shorten the phase, begin the trace further ahead, or play it slower",
        )
    shape = replay.shape_of(trace)
    return dataclasses.replace(replay, sha256=trace.sha256, arrivals=float(shape.total)), shape.peak


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
    for name in ("rate", "sine", "trace"):
        if getattr(entry, name) is not None:
            raise document.key_error(
                (*path, name), "belongs to the open model", remedy="give a `concurrency`, such as `concurrency: +30%`"
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
