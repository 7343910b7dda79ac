"""Whether retries multiplied the load (criterion C2): attempts per arrival, fault over baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.cells import ALL, Pair
from harness.analysis.damage import stretches
from harness.analysis.effects import attempts_effect
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Evidence, Interval
from harness.stats.noise import NO_NOISE

if TYPE_CHECKING:
    from harness.record.reader import Record

LIMIT = 1.1
_OVERWHELMING = 1.5
_WORDS = {"fault": "while the fault was on", "after": "after it was gone"}


@dataclass(frozen=True, slots=True)
class _Growth:
    """How many times more attempts per arrival there were, and what was counted."""

    what: str
    endpoint: str
    times: float
    low: float
    high: float
    known: bool


def judge_amplification(record: Record, arms: tuple[str, str], pairs: Mapping[str, Pair], seconds: Seconds) -> Evidence:
    """The largest growth of attempts per arrival, of the clients by endpoint and of each tier that counts its callers.

    Tier counters (`attempts_total:<caller>`) are taken as Poisson counts. The looks share 5 % (Bonferroni).
    """
    spans = {name: bins for name, bins in stretches(seconds).items() if name in _WORDS}
    level = 1 - 0.05 / max(1, len(spans) * (len(pairs) - 1))
    grown = [*_clients(pairs, spans, level), *_tiers(record, arms, pairs[ALL], spans, seconds, level)]
    if not grown:
        return Evidence("C2", None, "Attempts per arrival can't be compared: too few arrivals.")
    worst = max(grown, key=lambda growth: (growth.low, growth.times, growth.what))
    met: bool | None = worst.low > LIMIT
    if met and not worst.known and worst.times < _OVERWHELMING:
        met = None
    text = (
        f"{worst.what}: {worst.times:.2f} times the attempts per arrival of the baseline arm "
        f"(at least {worst.low:.2f}){_ceiling(record.info.scenario)}."
    )
    return Evidence("C2", met, text, worst.endpoint, worst.times, Interval(worst.low, _finite(worst.high)))


def _clients(pairs: Mapping[str, Pair], spans: Mapping[str, slice], level: float) -> Iterator[_Growth]:
    for pair in pairs.values():
        for name, bins in spans.items():
            effect = attempts_effect(pair, bins, level) if pair.endpoint != ALL else None
            if effect is not None and effect.relative is not None and effect.enough:
                relative = effect.relative
                yield _Growth(
                    f"Clients of {pair.endpoint}, {_WORDS[name]}",
                    pair.endpoint,
                    relative.value + 1,
                    relative.low + 1,
                    relative.high + 1,
                    effect.noise.known,
                )


def _tiers(
    record: Record, arms: tuple[str, str], together: Pair, spans: Mapping[str, slice], seconds: Seconds, level: float
) -> Iterator[_Growth]:
    critical = NO_NOISE.critical(level)
    keys = {
        (component, metric)
        for arm, component, metric in record.telemetry.available()
        if arm in arms and metric.startswith("attempts_total:")
    }
    for component, metric in sorted(keys):
        for name, bins in spans.items():
            span_ns = int(seconds.edges_ns[bins.start]), int(seconds.edges_ns[bins.stop])
            counts = [_increase(record, arm, component, metric, span_ns) for arm in arms]
            arrivals = [int(cells.arrivals[bins].sum()) for cells in (together.baseline, together.fault)]
            if min(counts) < 10 or min(arrivals) == 0:
                continue
            times = counts[1] / arrivals[1] * arrivals[0] / counts[0]
            spread = math.exp(critical * math.sqrt(1 / counts[0] + 1 / counts[1]))
            what = f"{metric.partition(':')[2]} to {component}, {_WORDS[name]}"
            yield _Growth(what, "", times, times / spread, times * spread, times >= _OVERWHELMING)


def _increase(record: Record, arm: str, component: str, metric: str, span_ns: tuple[int, int]) -> float:
    """How much a counter grew in a span, read between its readings; 0 without readings or after a reset."""
    t_ns, value = record.telemetry.series(arm, component, metric)
    if len(t_ns) < 2 or np.any(np.diff(value) < 0):
        return 0.0
    start, end = np.interp(np.array(span_ns, dtype=np.float64), t_ns.astype(np.float64), value).tolist()
    return float(end - start)


def _ceiling(scenario: Mapping[str, Any]) -> str:
    """What the clients' retry policy allows at most, where the scenario says."""
    load = scenario.get("load")
    retries = load.get("retries") if isinstance(load, Mapping) else None
    policies = retries.values() if isinstance(retries, Mapping) else ()
    limits = [policy.get("limit") for policy in policies if isinstance(policy, Mapping)]
    most = max((limit for limit in limits if isinstance(limit, int)), default=0)
    return f"; the clients' policy allows up to {most + 1}" if most else ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
