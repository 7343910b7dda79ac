"""Load and fault in a 2x2 design: did the spike do it, the fault, or only both together?

The four cells are the expected load and the spike, each without and with the fault, in the seconds of the fault. What
only both together do is the interaction; on the scale of points (error rate) or of logarithms (everything else), where
it says whether the fault multiplies a response time by more under the spike than without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.analysis.pair import PairVerdict
from harness.analysis.verdict import Contrast, Interval, LoadAndFault
from harness.stats.interaction import interaction

Key = tuple[str, str]


def load_and_fault(planned: Mapping[int, PairVerdict], expected: Mapping[int, PairVerdict]) -> tuple[LoadAndFault, ...]:
    """The interaction of every endpoint and metric; pairs by the number of their repeat, those with all four cells."""
    repeats = sorted(planned.keys() & expected.keys())
    if not repeats:
        return ()
    spikes = [_rows(planned[repeat]) for repeat in repeats]
    calm = [_rows(expected[repeat]) for repeat in repeats]
    common = [key for key in spikes[0] if all(key in rows for rows in (*spikes, *calm))]
    found = (_interaction(key, [rows[key] for rows in spikes], [rows[key] for rows in calm]) for key in common)
    return tuple(one for one in found if one is not None)


def _rows(pair: PairVerdict) -> dict[Key, Contrast]:
    return {(row.endpoint, row.metric): row for row in pair.table if row.phase == "fault"}


def _interaction(key: Key, spikes: Sequence[Contrast], calm: Sequence[Contrast]) -> LoadAndFault | None:
    points = key[1] == "error-rate"
    cells = (
        [row.baseline for row in calm],
        [row.baseline for row in spikes],
        [row.fault for row in calm],
        [row.fault for row in spikes],
    )
    values = [[value for value in cell if value is not None and (points or value > 0)] for cell in cells]
    if any(len(cell) < len(spikes) for cell in values):
        return None
    scaled = [[value * 100 if points else math.log(value) for value in cell] for cell in values]
    found = interaction(scaled[0], scaled[1], scaled[2], scaled[3])
    means = [math.fsum(cell) / len(cell) for cell in values]
    span = found.interval
    return LoadAndFault(
        endpoint=key[0],
        metric=key[1],
        scale="pp" if points else "log",
        neither=means[0],
        load_only=means[1],
        fault_only=means[2],
        both=means[3],
        value=found.value,
        interval=Interval(None, None) if span is None else Interval(span.low, span.high),
        p=None if found.p_value is None else float(f"{found.p_value:.6g}"),
        freedom=found.freedom,
    )
