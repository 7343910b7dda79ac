"""From a plan to a trial: the same arrivals, phases, retries and faults, on the model of the plan's target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import ScenarioError, nearest
from harness.load.tasks import tasks_of
from harness.plan import Plan
from harness.scenario.manifest import Target
from harness.simulate.effects import effect_of, to_controls
from harness.simulate.experiment import Named, Trial
from harness.simulate.files import FILE, TargetModel, load_model
from harness.simulate.model import Model, ModelError
from harness.simulate.program import compile_model


def trial_of(plan: Plan, target: Target, *, model: Model | None = None, scale: int = 1) -> Trial:
    """The plan as a trial on its target's model, or on `model`, which was fitted.

    Raises ScenarioError: no model, a fault or a load that can't be simulated, a task that the model doesn't know.
    """
    if plan.load.model == "closed":
        raise ScenarioError(
            "a closed model of load can't be simulated: how long users think is in the locustfile's code",
            file=plan.scenario_file,
            field="load.model",
            remedy="take it out, so that arrivals come at their own time",
        )
    if target.regions:
        raise ScenarioError(
            "a target in several regions can't be simulated", file=plan.scenario_file, field="regions", remedy="run it"
        )
    for fault in plan.faults:
        if not fault.edge and "sentinel" in target.capabilities(fault.component):
            raise ScenarioError(
                f"the model knows nothing of the sentinels that watch over {fault.component}, so that `{fault.id}` "
                "would last longer than it does",
                file=plan.scenario_file,
                field=f"servers.{fault.component}.sentinel",
                remedy=f"run it, or simulate it without them: --set servers.{fault.component}.sentinel=false",
            )
    found = load_model(target, plan.settings)
    trial = Trial(
        model=model or found.model,
        load=plan.load,
        mix=_mix(found, plan, target),
        effects=tuple(Named(fault.id, fault.component, effect_of(fault)) for fault in plan.faults),
        phases=plan.phases,
        expect=plan.expect,
        arms=tuple((arm.name, arm.kind, arm.pair) for arm in plan.arms),
        name=plan.name,
        loads={arm.name: plan.load_of(arm) for arm in plan.arms},
        scale=scale,
        fresh_load=False,
        dependencies=target.dependencies,
        component_dependencies=target.component_dependencies,
        shared_resources=target.shared_resources,
    )
    try:
        to_controls(
            [named.effect for named in trial.named_effects], compile_model(trial.model, trial.load), trial.model
        )
    except ModelError as error:
        raise ScenarioError(str(error), file=target.folder / FILE) from error
    return trial


def _mix(found: TargetModel, plan: Plan, target: Target) -> Mapping[str, float]:
    """Endpoint -> share of the arrivals, by the tasks of the locustfile."""
    mix: dict[str, float] = {}
    locustfile = Path(plan.load.locustfile)
    for task, weight in tasks_of(locustfile, plan.load.users).items():
        endpoint = found.tasks.get(task, task)
        if endpoint not in found.model.endpoints:
            raise ScenarioError(
                f"the task `{task}` of {locustfile.name} is no endpoint of the model",
                file=target.folder / FILE,
                field="endpoints",
                remedy=f"describe it there, or say under `tasks` which one it asks for; "
                f"{nearest(task, found.model.endpoints)}",
            )
        mix[endpoint] = mix.get(endpoint, 0.0) + weight
    return mix
