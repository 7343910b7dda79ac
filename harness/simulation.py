"""`harness simulate`: a plan carried out on the model of its target; the record and the verdict are as of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.display import Display
from harness.experiment import Judged, Planned, judge
from harness.paths import RunFolder
from harness.record.schema import ERRORS
from harness.record.writer import ArmStart, RecordWriter
from harness.run import info_of, new_folder
from harness.simulate.arm import SimulatedArm
from harness.simulate.experiment import Trial, events_of, simulate_arms, totals_of
from harness.simulate.jit import is_kept
from harness.simulate.kernel import advance
from harness.simulate.scenario import trial_of

SAY_EVERY_S = 5.0


def simulate(planned: Planned, *, results: Path, scale: int = 1, quiet: bool = False) -> Judged:
    """Simulate the plan, leave a record in `results/<run-id>/`, judge it, write the reports.

    Nothing is written before everything is simulated. Raises ScenarioError for what can't be simulated.
    """
    plan = planned.plan
    with Display(quiet=quiet) as display:
        trial = trial_of(plan, planned.target, scale=scale)
        if not is_kept(advance):
            display.say("compiling the event loop: half a minute, once")
        started_s = time.monotonic()
        arms = simulate_arms(trial, plan.seed, _Teller(display, trial.duration_s))
        arrivals = sum(arm.arrivals for arm in arms.values())
        took_s = time.monotonic() - started_s
        display.say(f"{arrivals:,} arrivals simulated in {took_s:.1f} s; analysing the record")
        return judge(_write(planned, trial, arms, results), integrity=True, reports=True)


def _write(planned: Planned, trial: Trial, arms: Mapping[str, SimulatedArm], results: Path) -> RunFolder:
    folder = new_folder(results, planned.plan.name)
    writer = RecordWriter(folder, _info(planned, trial, arms, folder.root.name))
    for line in events_of(trial):
        writer.event(**line)
    for name, arm in arms.items():
        for (component, metric), (t_ns, values) in arm.gauges.items():
            for at_ns, value in zip(t_ns.tolist(), values.tolist(), strict=True):
                writer.reading(name, at_ns, component, metric, value)
        writer.add_arm(arm.samples)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    starts = [
        ArmStart(arm.name, arm.kind, arm.pair, now, 0, trial.duration_s, load=arm.load) for arm in planned.plan.arms
    ]
    writer.close(_reasons(planned, arms), starts)
    return folder


def _info(planned: Planned, trial: Trial, arms: Mapping[str, SimulatedArm], run_id: str) -> dict[str, Any]:
    info = info_of(planned.plan, planned.target, run_id)
    phases = [{**phase, "rate": phase["rate"] * trial.scale} for phase in info["phases"]]
    return {**info, "phases": phases, "simulated": totals_of(trial, arms)}


def _reasons(planned: Planned, arms: Mapping[str, SimulatedArm]) -> list[str]:
    """What would make a measured run invalid too: a pool of virtual users that is too small for the calm load."""
    reasons = []
    for arm in planned.plan.arms:
        dropped = int((arms[arm.name].samples.error == ERRORS.index("dropped")).sum())
        if dropped and arm.kind == "baseline":
            reasons.append(f"{arm.name}: {dropped} arrivals found no free virtual user: raise `load.pool`")
    return reasons


class _Teller:
    """Says now and then how far a long simulation has come."""

    def __init__(self, display: Display, duration_s: float) -> None:
        self._display = display
        self._duration_s = duration_s
        self._said_s = time.monotonic()

    def __call__(self, arm: str, t_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            self._display.say(f"{arm}: {t_s:.0f} of {self._duration_s:.0f} s simulated")
