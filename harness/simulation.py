"""`harness simulate`: a plan carried out on the model of its target; the record and the verdict are as of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.display import Display
from harness.errors import RecordError
from harness.experiment import Judged, Planned, judge
from harness.paths import RunFolder
from harness.plan import Phase
from harness.record.reader import Record, read
from harness.record.schema import ERRORS
from harness.record.writer import ArmStart, RecordWriter
from harness.run import info_of, new_folder
from harness.scenario.resolve import MASK
from harness.shapes import Segment
from harness.simulate import fit as fitting
from harness.simulate.arm import SimulatedArm
from harness.simulate.experiment import Trial, events_of, simulate_arms, totals_of
from harness.simulate.files import load_model
from harness.simulate.jit import is_kept
from harness.simulate.kernel import advance
from harness.simulate.scenario import trial_of

SAY_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was judged; how the model was fitted, and how well it agrees with a measured run, where that was asked."""

    judged: Judged
    notes: Sequence[str] = ()
    agreement: Sequence[fitting.Agreement] = ()

    def text(self) -> str:
        """For a person."""
        lines = [f"fitted: {note}" for note in self.notes]
        if self.agreement:
            error = fitting.summary(self.agreement)
            lines += [
                fitting.table_of(self.agreement),
                f"error of the prediction over {error['cells']:.0f} cells, at the median and at worst: "
                f"error rate {error['errors_median_points']:.1f} and {error['errors_worst_points']:.1f} points, "
                f"p95 {error['p95_median_relative']:.0%} and {error['p95_worst_relative']:.0%}",
            ]
        return self.judged.text() + "".join(f"{line}\n" for line in lines)

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        found = self.judged.to_json()
        if self.notes:
            found["fit"] = list(self.notes)
        if self.agreement:
            found["agreement"] = {
                "cells": [asdict(one) for one in self.agreement],
                "summary": fitting.summary(self.agreement),
            }
        return found


def simulate(
    planned: Planned,
    *,
    results: Path,
    scale: int = 1,
    fit: Path | None = None,
    against: Path | None = None,
    quiet: bool = False,
) -> Simulated:
    """Simulate the plan, leave a record in `results/<run-id>/`, judge it, write the reports.

    `fit`: a measured run to whose baseline arms the model is fitted first. `against`: a measured run that the
    prediction is compared with. Nothing is written before everything is simulated. Raises ScenarioError for what can't
    be simulated, RecordError for a record that can't be read or isn't of this target.
    """
    plan = planned.plan
    measured = {path: _measured(path, plan.target_name) for path in (fit, against) if path is not None}
    with Display(quiet=quiet) as display:
        trial = trial_of(plan, planned.target, scale=scale)
        notes: Sequence[str] = ()
        if fit is not None:
            display.say(f"fitting the model to {fit}")
            found = fitting.fit(measured[fit], _trial_of_record(planned, measured[fit], trial), plan.seed)
            trial, notes = replace(trial, model=fitting.transfer(found, trial.model)), found.notes
        if not is_kept(advance):
            display.say("compiling the event loop: half a minute, once")
        started_s = time.monotonic()
        arms = simulate_arms(trial, plan.seed, _Teller(display, trial.duration_s))
        arrivals = sum(arm.arrivals for arm in arms.values())
        took_s = time.monotonic() - started_s
        display.say(f"{arrivals:,} arrivals simulated in {took_s:.1f} s; analysing the record")
        judged = judge(_write(planned, trial, arms, results, fit), integrity=True, reports=True)
    agreement = fitting.compare(measured[against], read(judged.folder.root)) if against is not None else ()
    return Simulated(judged, notes, agreement)


def _measured(path: Path, target: str) -> Record:
    record = read(path)
    name = (record.info.target.model_extra or {}).get("name", "")
    if record.info.simulated:
        raise RecordError(f"{path}: was simulated itself", remedy="name a folder that `harness run` made")
    if name != target:
        raise RecordError(f"{path}: is a run of the target `{name}`, the scenario is for `{target}`")
    return record


def _trial_of_record(planned: Planned, measured: Record, trial: Trial) -> Trial:
    """The trial of the measured run's own settings, load and phases: what its baseline arms did."""
    settings = measured.info.scenario.get("settings") or {}
    target = planned.target
    known = {name: value for name, value in settings.items() if name in target.settings and value != MASK}
    model = load_model(target, target.environment("", known)).model
    phases = [Phase(one.name, one.start_s, one.end_s, one.rate or 0.0) for one in measured.info.phases]
    segments = tuple(Segment(one.start_s, one.end_s, max(one.rate, 0.001), max(one.rate, 0.001)) for one in phases)
    return replace(
        trial, model=model, load=replace(trial.load, segments=segments, waves=(), traces=()), phases=phases, scale=1
    )


def _write(
    planned: Planned, trial: Trial, arms: Mapping[str, SimulatedArm], results: Path, fit: Path | None
) -> RunFolder:
    folder = new_folder(results, planned.plan.name)
    info = _info(planned, trial, arms, folder.root.name)
    if fit is not None:
        info["simulated"]["fitted_to"] = fit.resolve().name
    writer = RecordWriter(folder, info)
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
