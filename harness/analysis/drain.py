"""How long damage must be watched after the clear before it may be called metastable: is it only a queue that drains?

Where the requests inside the tiers were read, their trend tells: a queue that grows in the second half of what was
watched never empties at this load; one that shrinks will. In between it is twice the predicted time to work off what
was inside at the clear, by the utilisation law. Without readings, half of the load is assumed to be spare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.analysis import tiers
from harness.analysis.case import Case
from harness.analysis.cells import ALL
from harness.analysis.experiment import Window
from harness.analysis.tiers import Load

if TYPE_CHECKING:
    from harness.record.reader import Record

SHORTEST_S = 20.0
_SURE = 2.0
_SPARE = 0.5


def needed_s(record: Record, case: Case, window: Window) -> float:
    """Seconds of watching that it takes; infinite while the queues were still getting shorter."""
    clear_ns, end_ns = window.clear_ns, case.experiment.end_ns
    middle_ns = (clear_ns + end_ns) // 2
    left = [tiers.waiting(record.telemetry, case.arms[1], at_ns) for at_ns in (clear_ns, middle_ns, end_ns)]
    if left[0] is None or left[1] is None or left[2] is None:
        return max(SHORTEST_S, 2 * window.seconds / _SPARE)
    after = case.seconds.after
    half = slice((after.start + after.stop) // 2, after.stop)
    sent = int(case.pairs[ALL].fault.attempts[half].sum())
    # What comes and what goes are counts, each with its own chance.
    trend = (left[2] - left[1]) / math.sqrt(max(1, 2 * sent))
    if trend > _SURE:
        return SHORTEST_S
    if trend < -_SURE:
        return math.inf
    loads = tiers.read_loads(record.telemetry, case.arms[0])
    length_s = case.seconds.length_s(after)
    arrived = int(case.pairs[ALL].baseline.arrivals[after].sum())
    rate = arrived / length_s if length_s else 0.0
    attempts = sent / max(1, int(case.pairs[ALL].fault.arrivals[half].sum()))
    return max(SHORTEST_S, 2 * (_drain_s(loads, (clear_ns, end_ns), rate, attempts, left[0]) or 0.0))


def _drain_s(
    loads: Mapping[str, Load], span_ns: tuple[int, int], rate: float, attempts: float, backlog: float
) -> float | None:
    """Seconds to work off `backlog` at `rate` arrivals/s of that many `attempts` each.

    As if nobody retried where the retries alone are more than the capacity. Capacity is rate / busy share of the
    undisturbed arm's busiest tier; None when it can't be told: no readings, or a tier nearly idle or nearly full.
    """
    shares = [share for load in loads.values() if (share := load.mean(*span_ns)) is not None]
    busiest = max(shares, default=0.0)
    if not 0.05 < busiest < 0.95 or rate <= 0:
        return None
    spare = rate / busiest - rate * attempts
    return backlog / (spare if spare > 0 else rate / busiest - rate)
