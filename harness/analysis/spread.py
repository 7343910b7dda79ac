"""Whether damage reached what has no declared path to the broken component (criterion C1): endpoints and tiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.counters import Span, growth
from harness.analysis.damage import ERROR_POINTS, Damage, single
from harness.analysis.tiers import tier_of
from harness.analysis.verdict import Evidence, Interval
from harness.record.reader import Telemetry
from harness.stats.noise import NO_NOISE
from harness.stats.proportions import Estimate, newcombe

_FEWEST_REQUESTS = 10


@dataclass(frozen=True, slots=True)
class TierDamage:
    """How much larger the failed share of a tier's own requests was with the fault, in one stretch of seconds."""

    tier: str
    change: Estimate

    @property
    def met(self) -> bool:
        """Whether more than one point was added beyond doubt."""
        return self.change.low > ERROR_POINTS


def assess_tiers(telemetry: Telemetry, arms: tuple[str, str], spans: Iterable[Span]) -> tuple[TierDamage, ...]:
    """Every tier that counts its requests and errors, in every span; the intervals share 5 % (Bonferroni)."""
    components: dict[str, set[str]] = {}
    for arm, component, metric in telemetry.available():
        if arm in arms and metric in ("requests_total", "errors_total"):
            components.setdefault(tier_of(component), set()).add(component)
    looks = [(tier, sorted(names), span) for tier, names in sorted(components.items()) for span in spans]
    critical = NO_NOISE.critical(1 - 0.05 / max(1, len(looks)))
    found = []
    for tier, names, span in looks:
        requests, errors = (
            [growth(telemetry, arm, [(name, metric) for name in names], span) for arm in arms]
            for metric in ("requests_total", "errors_total")
        )
        if min(requests) >= _FEWEST_REQUESTS:
            failed = [min(one, whole) for one, whole in zip(errors, requests, strict=True)]
            found.append(TierDamage(tier, newcombe(failed[1], requests[1], failed[0], requests[0], critical)))
    return tuple(found)


def judge_spread(
    damages: Iterable[Damage],
    paths: Mapping[str, bool | None],
    tiers: Iterable[TierDamage] = (),
    tier_paths: Mapping[str, bool | None] | None = None,
) -> Evidence:
    """C1: an endpoint or tier without a declared path to what was broken was damaged, in the fault window or after."""
    damages = tuple(damages)
    seen = [damage for damage in single(damages, "fault", "after") if damage.met]
    spread = [damage for damage in seen if paths.get(damage.endpoint) is False]
    apart_tiers = [tier for tier in tiers if (tier_paths or {}).get(tier.tier) is False]
    hit_tiers = [tier for tier in apart_tiers if tier.met]
    if spread:
        worst = max(spread, key=lambda damage: (_excess(damage), damage.endpoint))
        names = ", ".join(sorted({damage.endpoint for damage in spread} | {f"tier {tier.tier}" for tier in hit_tiers}))
        return _spread_evidence(worst, f"Damaged without a declared path to what was broken: {names}.")
    if hit_tiers:
        return _tier_evidence(max(hit_tiers, key=lambda tier: (tier.change.low, tier.tier)))
    apart = sorted(name for name, path in paths.items() if path is False)
    unclear = sorted({damage.endpoint for damage in seen if paths.get(damage.endpoint) is None})
    if unclear:
        return Evidence("C1", None, f"Damaged, but the record declares no dependencies of: {', '.join(unclear)}.")
    if not apart:
        declared = any(path is not None for path in paths.values())
        text = "Every endpoint depends on what was broken." if declared else "The record declares no dependencies."
        return Evidence("C1", False if declared else None, text)
    blind = [d.endpoint for d in single(damages, "fault") if d.endpoint in apart and d.met is None]
    if blind:
        return Evidence("C1", None, f"Too little was seen to judge: {', '.join(sorted(blind))}.")
    return Evidence(
        "C1", False, f"Undamaged, and without a declared path to what was broken: {_both(apart, apart_tiers)}."
    )


def _both(endpoints: Sequence[str], tiers: Iterable[TierDamage]) -> str:
    names = sorted({tier.tier for tier in tiers})
    return ", ".join([*endpoints, *(f"tier {name}" for name in names)])


def _excess(damage: Damage) -> float:
    return damage.failure.change.value if damage.failure is not None else 0.0


def _tier_evidence(worst: TierDamage) -> Evidence:
    change = worst.change.scaled(100)
    text = (
        f"Damaged without a declared path to what was broken: tier {worst.tier}. Its requests failed "
        f"{change.value:.1f} points more often (at least {change.low:.1f})."
    )
    return Evidence("C1", True, text, "", change.value, Interval(change.low, change.high))


def _spread_evidence(worst: Damage, text: str) -> Evidence:
    effect = worst.failure if worst.errors else worst.p95
    if effect is None:
        return Evidence("C1", True, text, worst.endpoint)
    if worst.errors:
        change = effect.change.scaled(100)
        detail = f" Errors of {worst.endpoint} up by {change.value:.1f} points (at least {change.low:.1f})."
        return Evidence("C1", True, text + detail, worst.endpoint, change.value, Interval(change.low, change.high))
    relative = effect.relative or effect.change
    detail = f" p95 of {worst.endpoint} {effect.baseline.value:.0f} ms without and {effect.fault.value:.0f} ms with it."
    return Evidence("C1", True, text + detail, worst.endpoint, relative.value, Interval(relative.low, relative.high))
