"""What a scenario permits itself: which places its faults may touch, and when it may be run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from harness import units
from harness.allowed import Window, next_start
from harness.errors import nearest
from harness.faults.base import FaultType
from harness.plan import Plan, PlannedFault
from harness.scenario.document import Document
from harness.scenario.manifest import Target
from harness.scenario.models import AllowedTime, BlastRadius


def check_blast_radius(
    radius: BlastRadius,
    faults: Sequence[PlannedFault],
    catalogue: Mapping[str, FaultType],
    target: Target,
    document: Document,
) -> None:
    """Raise ScenarioError when a fault would touch what is not in the blast radius, or faults too many replicas."""
    if radius.only is not None:
        _check_places(radius.only, faults, target, document)
    if radius.replicas is not None:
        _check_replicas(radius.replicas, faults, catalogue, target, document)


def _check_places(allowed: Sequence[str], faults: Sequence[PlannedFault], target: Target, document: Document) -> None:
    known = (*target.components, *target.edge_names, *target.regions)
    only = ["->".join(part.strip() for part in place.split("->")) for place in allowed]
    for index, place in enumerate(only):
        if place not in known:
            remedy = nearest(place, known)
            raise document.error(
                ("blast-radius", "only", index),
                f"the target has no component, edge or region `{place}`",
                remedy=remedy,
            )
    for index, fault in enumerate(faults):
        for place in fault.where:
            if place not in only and _whole(place, target) not in only:
                raise document.error(
                    ("faults", index, fault.kind),
                    f"touches `{place}`, which is not in the blast radius of this scenario",
                    remedy=f"`blast-radius: only` has {', '.join(only)}",
                )


def _check_replicas(
    most: int,
    faults: Sequence[PlannedFault],
    catalogue: Mapping[str, FaultType],
    target: Target,
    document: Document,
) -> None:
    """What several faults take out at the same time adds up."""
    for index, fault in enumerate(faults):
        together = [other for other in faults[: index + 1] if fault.at_s < other.end_s and other.at_s < fault.end_s]
        out: Counter[str] = Counter()
        for other in together:
            out.update(catalogue[other.kind].out_at_once(other, target))
        for component in catalogue[fault.kind].out_at_once(fault, target):
            if out[component] > most:
                others = ", ".join(f"`{other.id}`" for other in together[:-1])
                raise document.error(
                    ("faults", index, fault.kind),
                    f"takes {out[component]} processes of `{component}` out at the same time"
                    + (f", together with {others}" if others else ""),
                    remedy=f"`blast-radius: replicas` allows {most}",
                )


def _whole(place: str, target: Target) -> str:
    """The component that a place belongs to, of an edge the far end; a region is a whole by itself."""
    if "->" in place:
        return place.partition("->")[2]
    return place if place in target.regions else target.component_of(place)


def allowed_windows(times: Sequence[AllowedTime]) -> tuple[Window, ...]:
    """When it may be run, as values of a plan."""
    return tuple(Window(one.days, one.hours, one.timezone) for one in times)


def check_it_ever_fits(plan: Plan, document: Document) -> None:
    """Raise ScenarioError when the run takes longer than any of its allowed times lasts."""
    lasts_s = plan.estimate_s
    if plan.allowed and next_start(plan.allowed, datetime.now(UTC), timedelta(seconds=lasts_s)) is None:
        raise document.error(
            ("allowed",),
            f"the run takes about {units.format_duration(round(lasts_s))}, longer than any time that is allowed",
            remedy="allow a longer time, repeat less often, or shorten the phases",
        )
