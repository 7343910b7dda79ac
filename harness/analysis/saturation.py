"""Whether useful work collapsed while a tier was busy (criterion C4), and how the saturation built up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.cells import ALL, Pair
from harness.analysis.counters import Span, growth
from harness.analysis.damage import stretches
from harness.analysis.effects import Effect, goodput_effect
from harness.analysis.seconds import Seconds
from harness.analysis.tiers import BUSY, Load, tier_of
from harness.analysis.verdict import Evidence, Interval, Onset
from harness.clock import NS

if TYPE_CHECKING:
    from harness.record.reader import Telemetry

_HALF = 0.5
_WORDS = {"fault": "While the fault was on", "tail": "At the end"}


@dataclass(frozen=True, slots=True)
class _Fall:
    """Goodput in one stretch: against what (`possible`, 1/s; None when not known), and which resources were busy."""

    stretch: str
    effect: Effect
    possible: float | None
    busy: tuple[str, ...]

    @property
    def met(self) -> bool | None:
        if self.effect.fault.high >= _HALF * self.effect.baseline.value:
            return False
        if self.possible is None:
            return None
        return bool(self.busy) and self.effect.fault.high < _HALF * self.possible


def judge_collapse(
    telemetry: Telemetry,
    arm: str,
    pairs: Mapping[str, Pair],
    seconds: Seconds,
    loads: Mapping[str, Load],
    onsets: Iterable[Onset],
    chain: Sequence[str],
) -> Evidence:
    """Goodput of all endpoints below half of min(offered, capacity), with a tier whose median reading is 90 % busy.

    At the end of the arm, the fault being gone, what the baseline arm carried stands for min(offered, capacity): it was
    offered and it fitted. While the fault is on the capacity is smaller, and that is not the system's doing; then it is
    the right answers that the busy tier of `arm` still made per second, whether or not somebody waited for them.
    """
    falls = []
    for stretch, bins in stretches(seconds).items():
        effect = goodput_effect(pairs[ALL], bins, seconds.length_s(bins))
        if stretch in _WORDS and effect is not None and effect.relative is not None:
            span_ns = int(seconds.edges_ns[bins.start]), int(seconds.edges_ns[bins.stop])
            full = [one for one in loads.values() if (share := one.typical(*span_ns)) is not None and share >= BUSY]
            carried: float | None = effect.baseline.value if loads else None
            if stretch == "fault":
                made = _made(telemetry, arm, full, span_ns) if loads else None
                carried = None if made is None else min(made, effect.baseline.value)
            falls.append(_Fall(stretch, effect, carried, tuple(load.name for load in full)))
    if not falls:
        return Evidence(
            "C4", None, "Goodput can't be compared: too few arrivals, or none succeeded in the baseline arm."
        )
    fall = max(falls, key=lambda one: (one.met is True, one.met is None, -one.effect.fault.value))
    effect = fall.effect
    relative = effect.relative or effect.change
    text = (
        f"{_WORDS[fall.stretch]}, {effect.fault.value:.1f} right answers per second came within the deadline, "
        f"{effect.baseline.value:.1f} in the baseline arm; {_busy_text(fall, loads)}.{_chain(onsets, chain)}"
    )
    return Evidence("C4", fall.met, text, "", relative.value, Interval(relative.low, relative.high))


def _made(telemetry: Telemetry, arm: str, full: Sequence[Load], span_ns: Span) -> float | None:
    """Right answers per second of the busy tier that made most; 0 when none was busy, None when none counts them."""
    if not full:
        return 0.0
    known = []
    for tier in {load.tier for load in full}:
        counted = [(c, m) for name, c, m in telemetry.available() if name == arm and tier_of(c) == tier]
        if any(metric == "requests_total" for _, metric in counted):
            made = growth(telemetry, arm, [one for one in counted if one[1] == "requests_total"], span_ns)
            made -= growth(telemetry, arm, [one for one in counted if one[1] == "errors_total"], span_ns)
            known.append(max(0.0, made) * NS / (span_ns[1] - span_ns[0]))
    return max(known) if known else None


def _busy_text(fall: _Fall, loads: Mapping[str, Load]) -> str:
    if not loads:
        return "how busy the tiers were is not in the record"
    if not fall.busy:
        return "no tier was 90 % busy"
    text = f"at least 90 % busy: {', '.join(fall.busy)}"
    if fall.stretch != "fault":
        return text
    if fall.possible is None:
        return f"{text}, but what it could still do is not in the record"
    return f"{text}, with room for {fall.possible:.1f}"


def _chain(onsets: Iterable[Onset], chain: Sequence[str]) -> str:
    """The saturation chain in words: what filled up and what failed, in order of time."""
    if not chain:
        return ""
    times = {onset.series: onset.t_s for onset in onsets}
    return " Saturation chain: " + ", ".join(f"{series} ({times[series]:.1f} s)" for series in chain) + "."
