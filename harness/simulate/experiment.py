"""A whole simulated experiment, in memory: the same load with and without the faults, as a record that can be judged.

    trial = Trial(model, load, mix={"get": 1.0}, effects=(Capacity("server", 20, 25, factor=0),))
    record = simulate(trial, seed=7)
    verdict = analyse(record)          # harness.analysis.analyse

Nothing is written; thousands of these can be made. The same trial and seed give the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.clock import NS
from harness.paths import RunFolder
from harness.plan import ArmKind, Load, Phase
from harness.record.info import SCHEMA_VERSION, RunInfo
from harness.record.reader import Event, Record
from harness.simulate.arm import Batch, SimulatedArm, simulate_arm, telemetry_of
from harness.simulate.arrivals import batches_of
from harness.simulate.effects import Capacity, Down, Effect, Latency
from harness.simulate.model import Component, Model

PAIR: tuple[tuple[str, ArmKind, int], ...] = (("baseline-1", "baseline", 1), ("fault-1", "fault", 1))
START_UTC = "1970-01-01T00:00:00.000+00:00"
MAX_ROWS = 4_000_000
"""More expected arrivals than this per arm, and only one in so many is kept in the record."""


@dataclass(frozen=True, slots=True)
class Named:
    """An effect under the id that the record's events carry, and the component that is hit."""

    id: str
    component: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Trial:
    """What is simulated. `mix`: how often each endpoint is asked for, on any scale.

    Without `phases` there is one over the whole load. `dependencies` (endpoint -> components) are by default those
    that the model's steps have. `loads`: arms with a load of their own, by name. `scale` multiplies the load and
    everything there is of the stack. `seed_of_load`: arrivals come from `load.seed`, as in a measured run, so two
    trials with one load see the same arrivals; with `fresh_load` they come from the seed given to `simulate`.
    """

    model: Model
    load: Load
    mix: Mapping[str, float]
    effects: Sequence[Effect | Named] = ()
    phases: Sequence[Phase] = ()
    expect: Sequence[str] = ()
    arms: Sequence[tuple[str, ArmKind, int]] = PAIR
    name: str = "simulated"
    scale: int = 1
    fresh_load: bool = True
    loads: Mapping[str, Load] = field(default_factory=dict)
    dependencies: Mapping[str, Sequence[str]] | None = None
    component_dependencies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shared_resources: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def named_effects(self) -> tuple[Named, ...]:
        """The effects with ids: their own, else by kind and number."""
        numbers: dict[str, count[int]] = {}
        named = []
        for effect in self.effects:
            if isinstance(effect, Named):
                named.append(effect)
                continue
            kind = type(effect).__name__.lower()
            number = next(numbers.setdefault(kind, count(1)))
            component = effect.edge.partition("->")[2] if isinstance(effect, Latency) else effect.component
            named.append(Named(kind if number == 1 else f"{kind}-{number}", component, effect))
        return tuple(named)

    @property
    def planned_phases(self) -> tuple[Phase, ...]:
        """The phases, or the one that stands for them."""
        if self.phases:
            return tuple(self.phases)
        return (Phase("steady", 0.0, self.load.duration_s, self.load.segments[-1].rate_end),)

    @property
    def duration_s(self) -> float:
        """How long an arm lasts."""
        return self.planned_phases[-1].end_s


Progress = Callable[[str, float], None]


def simulate(trial: Trial, seed: int) -> Record:
    """The record of the trial's arms; the same arrivals in all of them, everything else drawn anew for each."""
    arms = simulate_arms(trial, seed)
    info = RunInfo.model_validate(info_of(trial, seed, arms))
    endpoint_names = tuple(sorted(trial.model.endpoints))
    events = tuple(
        Event(line["t_ns"], line["arm"], line["kind"], MappingProxyType(_fields(line))) for line in events_of(trial)
    )
    samples = MappingProxyType({name: arm.samples for name, arm in arms.items()})
    return Record(RunFolder(Path()), info, events, telemetry_of(arms), endpoint_names, samples)


def simulate_arms(trial: Trial, seed: int, progress: Progress = lambda _arm, _t_s: None) -> dict[str, SimulatedArm]:
    """The arms by name; `progress` hears now and then which arm is at which of its seconds."""
    model = scaled(trial.model, trial.scale)
    keep_every = kept_every(trial)
    effects = [named.effect for named in trial.named_effects]
    arms = {}
    for number, (name, kind, _) in enumerate(trial.arms):
        load = trial.loads.get(name, trial.load)
        load = replace(load, seed=seed) if trial.fresh_load else load
        arms[name] = simulate_arm(
            name,
            model,
            replace(load, users=load.users * trial.scale),
            _told(batches_of(load, trial.mix, tuple(model.endpoints), trial.scale), name, progress),
            effects if kind == "fault" else (),
            duration_s=trial.duration_s,
            seed=(seed, number),
            keep_every=keep_every,
            scale=trial.scale,
        )
    return arms


def _told(batches: Iterable[Batch], arm: str, progress: Progress) -> Iterator[Batch]:
    for batch in batches:
        progress(arm, batch[0][0] / NS if batch[0].size else 0.0)
        yield batch


def kept_every(trial: Trial) -> int:
    """One arrival in how many is kept, so that a record stays small enough to be judged."""
    expected = trial.load.expected()
    return max(1, -int(-expected * trial.scale // MAX_ROWS))


def scaled(model: Model, scale: int) -> Model:
    """`scale` times as many replicas of everything."""
    components = {
        name: replace(component, replicas=component.replicas * scale) for name, component in model.components.items()
    }
    return replace(model, components=components) if scale > 1 else model


def events_of(trial: Trial) -> list[dict[str, Any]]:
    """The lines of events.jsonl: an effect is there at its planned instant, since nothing has to be waited for."""
    lines: list[dict[str, Any]] = []
    for name, kind, _ in trial.arms:
        timed: list[tuple[float, int, str, dict[str, Any]]] = []
        for phase in trial.planned_phases:
            timed.append((phase.start_s, 1, "phase.start", {"phase": phase.name}))
            timed.append((phase.end_s, 0, "phase.end", {"phase": phase.name}))
        for named in trial.named_effects if kind == "fault" else ():
            fields = {"fault": named.id, "component": named.component, "edge": _edge(named.effect)}
            timed += [(named.effect.from_s, 2, f"fault.{word}", fields) for word in ("requested", "active")]
            timed += [(named.effect.to_s, 2, f"fault.{word}", fields) for word in ("clear-requested", "clear")]
        timed.sort(key=lambda entry: entry[:2])
        lines += [{"t_ns": round(t * NS), "arm": name, "kind": word, **fields} for t, _, word, fields in timed]
    return lines


def info_of(trial: Trial, seed: int, arms: Mapping[str, SimulatedArm]) -> dict[str, Any]:
    """run.json of a trial, without digests."""
    model = trial.model
    dependencies = trial.dependencies or {name: model.called(name) for name in model.endpoints}
    scenario = {"name": trial.name, "expect": list(trial.expect), "load": {"timeout": f"{trial.load.timeout_s:g}s"}}
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": f"{trial.name}-{seed}",
        "scenario": scenario,
        "seeds": {"seed": seed},
        "arms": [
            {
                "name": name,
                "kind": kind,
                "pair": pair,
                "start_utc": START_UTC,
                "start_monotonic_ns": 0,
                "duration_s": trial.duration_s,
                "rows": len(arms[name].samples),
            }
            for name, kind, pair in trial.arms
        ],
        "phases": [
            {"name": phase.name, "start_s": phase.start_s, "end_s": phase.end_s, "rate": phase.rate * trial.scale}
            for phase in trial.planned_phases
        ],
        "faults": [
            {
                "id": named.id,
                "kind": type(named.effect).__name__.lower(),
                "component": named.component,
                "edge": _edge(named.effect),
                "at_s": named.effect.from_s,
                "for_s": named.effect.to_s - named.effect.from_s,
            }
            for named in trial.named_effects
        ],
        "target": {
            "dependencies": {name: list(components) for name, components in dependencies.items()},
            "component_dependencies": {name: list(others) for name, others in trial.component_dependencies.items()},
            "shared_resources": {name: list(sharers) for name, sharers in trial.shared_resources.items()},
        },
        "validity": {"valid": True, "reasons": []},
        "simulated": totals_of(trial, arms),
    }


def totals_of(trial: Trial, arms: Mapping[str, SimulatedArm]) -> dict[str, Any]:
    """What run.json says under `simulated`: counts over all arrivals, those too that are not in the samples."""
    return {
        "scale": trial.scale,
        "kept_every": kept_every(trial),
        "arrivals": {name: arm.arrivals for name, arm in arms.items()},
        "failed": {name: arm.failed for name, arm in arms.items()},
        "attempts": {name: arm.attempts for name, arm in arms.items()},
    }


def fifo_server(rate: float) -> Model:
    """One server that works off requests in their order, `rate` a second (exponential times): the model of theory."""
    from harness.simulate.model import Exponential, Work

    return Model("server", {"server": Component(workers=1)}, {"get": (Work(Exponential(1 / rate)),)})


def _edge(effect: Effect) -> str:
    return "" if isinstance(effect, Capacity | Down) else effect.edge


def _fields(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("t_ns", "arm", "kind")}
