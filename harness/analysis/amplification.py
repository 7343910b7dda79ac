"""Whether retries multiplied the load (criterion C2): attempts that reach a tier per arrival, fault over baseline."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis.cells import ALL, Pair
from harness.analysis.counters import growth
from harness.analysis.damage import stretches
from harness.analysis.effects import attempts_effect
from harness.analysis.paths import most_attempts
from harness.analysis.seconds import Seconds
from harness.analysis.tiers import tier_of
from harness.analysis.verdict import Evidence, Factor, Interval
from harness.plan import RETRY_STORM
from harness.stats.noise import NO_NOISE

if TYPE_CHECKING:
    from harness.record.info import FaultInfo, RunInfo
    from harness.record.reader import Record

LIMIT = 1.1
_OVERWHELMING = 1.5
_FEWEST = 10
_WORDS = {"fault": "while the fault was on", "after": "after it was gone"}


def measure_factors(
    record: Record, arms: tuple[str, str], pairs: Mapping[str, Pair], seconds: Seconds
) -> tuple[tuple[Factor, bool], ...]:
    """The growth of attempts per arrival, of the clients by endpoint and of each tier that counts its callers.

    With each, whether how much it wanders by itself is known. Tier counters (`attempts_total:<caller>`) are taken as
    Poisson counts. The looks share 5 % (Bonferroni).
    """
    spans = {name: bins for name, bins in stretches(seconds).items() if name in _WORDS}
    level = 1 - 0.05 / max(1, len(spans) * (len(pairs) - 1))
    return (*_clients(record, pairs, spans, level), *_tiers(record, arms, pairs[ALL], spans, seconds, level))


def judge_amplification(measured: Sequence[tuple[Factor, bool]]) -> Evidence:
    """C2: the largest growth is more than a tenth beyond doubt."""
    if not measured:
        return Evidence("C2", None, "Attempts per arrival can't be compared: too few arrivals.")
    worst, known = max(measured, key=lambda one: (one[0].interval.low or 0.0, one[0].times, one[0].endpoint))
    low = worst.interval.low or 0.0
    met: bool | None = low > LIMIT
    if met and not known and worst.times < _OVERWHELMING:
        met = None
    who = f"Clients of {worst.endpoint}" if worst.endpoint else f"{worst.caller} to {worst.tier}"
    most = f"; retries allow up to {worst.ceiling:.0f}" if worst.ceiling is not None and worst.ceiling > 1 else ""
    text = (
        f"{who}, {_WORDS[worst.phase]}: {worst.times:.2f} times the attempts per arrival of the baseline arm "
        f"(at least {low:.2f}){most}."
    )
    return Evidence("C2", met, text, worst.endpoint, worst.times, worst.interval)


def _clients(
    record: Record, pairs: Mapping[str, Pair], spans: Mapping[str, slice], level: float
) -> Iterator[tuple[Factor, bool]]:
    for pair in pairs.values():
        for name, bins in spans.items():
            effect = attempts_effect(pair, bins, level) if pair.endpoint != ALL else None
            if effect is not None and effect.relative is not None and effect.enough:
                relative = effect.relative
                factor = Factor(
                    caller="client",
                    tier="",
                    endpoint=pair.endpoint,
                    phase=name,
                    baseline=effect.baseline.value,
                    fault=effect.fault.value,
                    times=relative.value + 1,
                    interval=Interval(relative.low + 1, _finite(relative.high + 1)),
                    ceiling=_most_of_client(record.info, pair.endpoint),
                )
                yield factor, effect.noise.known


def _tiers(
    record: Record, arms: tuple[str, str], together: Pair, spans: Mapping[str, slice], seconds: Seconds, level: float
) -> Iterator[tuple[Factor, bool]]:
    critical = NO_NOISE.critical(level)
    counters: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for arm, component, metric in record.telemetry.available():
        kind, _, caller = metric.partition(":")
        if arm in arms and kind == "attempts_total" and caller:
            counters.setdefault((tier_of(caller), tier_of(component)), set()).add((component, metric))
    for (caller, tier), listed in sorted(counters.items()):
        for name, bins in spans.items():
            span_ns = int(seconds.edges_ns[bins.start]), int(seconds.edges_ns[bins.stop])
            counts = [growth(record.telemetry, arm, sorted(listed), span_ns) for arm in arms]
            arrivals = [int(cells.arrivals[bins].sum()) for cells in (together.baseline, together.fault)]
            if min(counts) < _FEWEST or min(arrivals) == 0:
                continue
            times = counts[1] / arrivals[1] * arrivals[0] / counts[0]
            spread = math.exp(critical * math.sqrt(1 / counts[0] + 1 / counts[1]))
            factor = Factor(
                caller=caller,
                tier=tier,
                endpoint="",
                phase=name,
                baseline=counts[0] / arrivals[0],
                fault=counts[1] / arrivals[1],
                times=times,
                interval=Interval(times / spread, _finite(times * spread)),
                ceiling=_most_of_tier(record, caller, tier),
            )
            yield factor, times >= _OVERWHELMING


def _most_of_client(info: RunInfo, endpoint: str) -> float | None:
    """Attempts per arrival that the clients' policy or a storm allows; None where the scenario says nothing of load."""
    load = info.scenario.get("load")
    if not isinstance(load, Mapping):
        return None
    retries = load.get("retries")
    policy = retries.get(endpoint) if isinstance(retries, Mapping) else None
    limits = [policy.get("limit", 0) if isinstance(policy, Mapping) else 0]
    limits += [fault.params.get("retries") for fault in info.faults if _is_storm_of(endpoint, fault)]
    return 1.0 + max(map(int, limits)) if all(str(limit).isdigit() for limit in limits) else None


def _is_storm_of(endpoint: str, fault: FaultInfo) -> bool:
    names = fault.params.get("endpoints")
    return fault.kind == RETRY_STORM and (not names or endpoint in re.split(r"\s*,\s*", str(names).strip()))


def _most_of_tier(record: Record, caller: str, tier: str) -> float | None:
    """Attempts at a tier that one call of it can become: the product of 1 + retries on the way, clients first."""
    target = record.info.target
    inside = most_attempts(caller, tier, target.retries, target.component_dependencies)
    using = [name for name, needs in target.dependencies.items() if tier in needs]
    clients = [_most_of_client(record.info, name) for name in using]
    if inside is None or not clients or None in clients:
        return None
    return inside * max(most for most in clients if most is not None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
