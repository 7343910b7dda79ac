"""What a scenario permits itself: which places its faults may touch, and when it may be run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from harness import units
from harness.allowed import Window, next_start
from harness.errors import nearest
from harness.plan import Plan, PlannedFault
from harness.scenario.document import Document
from harness.scenario.manifest import Target
from harness.scenario.models import AllowedTime, BlastRadius


def check_blast_radius(radius: BlastRadius, faults: Sequence[PlannedFault], target: Target, document: Document) -> None:
    """Raise ScenarioError when a fault would touch what is not in the blast radius."""
    if radius.only is None:
        return
    known = (*target.components, *target.edge_names)
    only = ["->".join(part.strip() for part in place.split("->")) for place in radius.only]
    for index, place in enumerate(only):
        if place not in known:
            remedy = nearest(place, known)
            raise document.error(
                ("blast-radius", "only", index), f"the target has no component or edge `{place}`", remedy=remedy
            )
    for index, fault in enumerate(faults):
        if not {fault.edge, fault.component}.intersection(only):
            raise document.error(
                ("faults", index, fault.kind),
                f"touches `{fault.edge or fault.component}`, which is not in the blast radius of this scenario",
                remedy=f"`blast-radius: only` has {', '.join(only)}",
            )


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
