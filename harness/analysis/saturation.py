"""Whether useful work collapsed while a tier was busy (criterion C4), and how the saturation built up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.cells import ALL, Pair
from harness.analysis.damage import stretches
from harness.analysis.effects import goodput_effect
from harness.analysis.seconds import Seconds
from harness.analysis.tiers import BUSY, Load
from harness.analysis.verdict import Evidence, Interval, Onset

_HALF = -0.5
_WORDS = {"fault": "While the fault was on", "after": "After the fault was gone", "tail": "At the end"}


def judge_collapse(
    pairs: Mapping[str, Pair],
    seconds: Seconds,
    loads: Mapping[str, Load],
    onsets: Iterable[Onset],
    chain: Sequence[str],
) -> Evidence:
    """Goodput of all endpoints below half of the baseline arm's, with a tier at least 90 % busy in the same seconds.

    What the baseline arm carried in the same seconds stands for min(offered, capacity): it was offered and it fitted.
    The stretch with the deepest fall is reported; a tier is busy when its median reading is.
    """
    falls = []
    for name, bins in stretches(seconds).items():
        effect = goodput_effect(pairs[ALL], bins, seconds.length_s(bins))
        if effect is not None and effect.relative is not None:
            span_ns = int(seconds.edges_ns[bins.start]), int(seconds.edges_ns[bins.stop])
            busy = [
                load.name for load in loads.values() if (share := load.typical(*span_ns)) is not None and share >= BUSY
            ]
            falls.append((effect.relative, name, busy, effect))
    if not falls:
        return Evidence(
            "C4", None, "Goodput can't be compared: too few arrivals, or none succeeded in the baseline arm."
        )
    # Of the collapsed stretches one with a busy tier counts first: that is what the criterion asks for.
    relative, name, busy, effect = min(falls, key=lambda fall: (not (fall[0].high < _HALF and fall[2]), fall[0].value))
    collapsed = relative.high < _HALF
    met: bool | None = collapsed and bool(busy)
    if collapsed and not loads:
        met = None
    text = (
        f"{_WORDS[name]}, {effect.fault.value:.1f} right answers per second came within the deadline, "
        f"{effect.baseline.value:.1f} in the baseline arm; {_busy_text(busy, loads)}.{_chain(onsets, chain)}"
    )
    return Evidence("C4", met, text, "", relative.value, Interval(relative.low, relative.high))


def _busy_text(busy: list[str], loads: Mapping[str, Load]) -> str:
    if busy:
        return f"at least 90 % busy: {', '.join(busy)}"
    return "no tier was 90 % busy" if loads else "how busy the tiers were is not in the record"


def _chain(onsets: Iterable[Onset], chain: Sequence[str]) -> str:
    """The saturation chain in words: what filled up and what failed, in order of time."""
    if not chain:
        return ""
    times = {onset.series: onset.t_s for onset in onsets}
    return " Saturation chain: " + ", ".join(f"{series} ({times[series]:.1f} s)" for series in chain) + "."
