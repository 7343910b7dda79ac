"""Counters of the tiers, from telemetry: how much they grew, over all replicas of a tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.tiers import readings

if TYPE_CHECKING:
    from harness.record.reader import Telemetry

Span = tuple[int, int]


def growth(telemetry: Telemetry, arm: str, counters: Iterable[tuple[str, str]], span_ns: Span) -> float:
    """How much the counters, each `(component, metric)`, grew together in a span, read between their readings.

    A counter that starts anew, because its process did, goes on from where it was. 0 without readings.
    """
    total = 0.0
    for component, metric in counters:
        t_ns, value = readings(telemetry, arm, component, metric)
        if len(t_ns) > 1:
            steps = np.diff(value)
            risen = np.concatenate(([0.0], np.cumsum(np.where(steps >= 0, steps, value[1:]))))
            start, end = np.interp(np.array(span_ns, dtype=float), t_ns.astype(float), risen).tolist()
            total += end - start
    return total
