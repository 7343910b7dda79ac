"""A real stack on loopback for tests of faults: boots a target, lives through planned faults, keeps their events."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.clock import now_ns
from harness.faults.catalogue import catalogue
from harness.faults.timeline import FaultTimeline
from harness.ledger import Ledger, mark_of
from harness.paths import RunFolder, shipped
from harness.plan import Phase, PlannedFault
from harness.probes import wait_for
from harness.processes import Processes
from harness.scenario.injections import plan_faults
from harness.scenario.manifest import Target, load_target
from harness.scenario.models import FaultEntry
from harness.scenario.source import read_bytes
from harness.stack.local import LocalStack

SHOP = shipped("targets") / "sample-flask-app"


def plan_for(target: Target, *entries: str) -> tuple[PlannedFault, ...]:
    """Faults as in a scenario, planned for a target that need not run. Raises ScenarioError."""
    text = "faults:\n" + "".join(f"  - {entry}\n" for entry in entries)
    document = read_bytes(text.encode(), Path("faults.yaml"))
    found = [FaultEntry.model_validate(one) for one in document.data["faults"]]
    phases = (Phase("warm-up", -1.0, 0.0, 1.0), Phase("steady", 0.0, 600.0, 1.0))
    return plan_faults(found, catalogue(), target, phases, document)


class Bench:
    """A stack with its ledger and processes, while it is `booted`.

    What faults tell is kept: `events` as (kind, ns, fault), those about components also in `moves`, with the component.
    """

    def __init__(
        self,
        folder: Path,
        *,
        target: Target | None = None,
        preset: str = "hardened",
        settings: Mapping[str, Any] | None = None,
        named: Sequence[str] = (),
    ) -> None:
        self.folder = RunFolder(folder)
        self.folder.logs.mkdir(parents=True)
        self.ledger = Ledger(self.folder.ledger)
        self.ledger.run(folder.name, mark_of(os.getpid(), "test", signal.SIGTERM))
        self.processes = Processes(f"{folder.name}-{os.getpid()}", self.ledger)
        self.target = target or load_target(SHOP)
        self.stack = LocalStack(
            self.target,
            self.target.environment(preset, settings or {}),
            processes=self.processes,
            ledger=self.ledger,
            folder=self.folder,
            seed=1,
            named=named,
        )
        self.events: list[tuple[str, int, str]] = []
        self.moves: list[tuple[str, int, str]] = []

    @contextmanager
    def booted(self) -> Iterator[Bench]:
        """Up and reset; down at the end."""
        try:
            self.stack.up()
            self.stack.reset()
            yield self
        finally:
            self.stack.down()

    def plan(self, *entries: str) -> tuple[PlannedFault, ...]:
        """Faults as in a scenario; they count from the timeline's start: `"redis-down: {at: 0s, for: 1s}"`."""
        return plan_for(self.target, *entries)

    def timeline(self, *planned: PlannedFault) -> FaultTimeline:
        """These faults, not started."""
        return FaultTimeline(
            planned,
            arm="fault-1",
            stack=self.stack,
            processes=self.processes,
            ledger=self.ledger,
            on_event=self._event,
        )

    @contextmanager
    def during(self, *entries: str, timeout_s: float = 15.0) -> Iterator[FaultTimeline]:
        """Inside, all these faults are active; afterwards they were taken back, and confirmed to be gone.

        Give them a long `for`: they are taken back when the block ends.
        """
        timeline = self.timeline(*self.plan(*entries))
        timeline.start(now_ns())
        try:
            wait_for(lambda: bool(timeline.errors) or set(timeline.states.values()) == {"active"}, timeout_s=timeout_s)
            assert not timeline.errors, timeline.errors
            assert set(timeline.states.values()) == {"active"}, timeline.states
            yield timeline
        finally:
            timeline.revert_now()
        assert not timeline.errors, timeline.errors
        assert set(timeline.states.values()) == {"clear"}, timeline.states

    def _event(self, kind: str, *, t_ns: int, fault: str, component: str, **_: object) -> None:
        self.events.append((kind, t_ns, fault))
        if kind.startswith("component."):
            self.moves.append((kind.removeprefix("component."), t_ns, component))
