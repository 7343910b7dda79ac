"""From a scenario file to a Plan: every name looked up, every time in seconds, everything impossible refused."""

from __future__ import annotations

import hashlib
import json
import math
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import expectations, units
from harness.errors import ScenarioError, nearest
from harness.faults.base import FaultType
from harness.paths import shipped
from harness.plan import RETRY_STORM, Arm, ArmKind, ArmLoad, Load, Phase, Plan, PlannedFault, Retry
from harness.scenario import overrides as command_line
from harness.scenario.changes import with_changes
from harness.scenario.document import Document, Keys
from harness.scenario.existing import NOTHING, Existing, with_existing
from harness.scenario.hysteresis import shed_and_return
from harness.scenario.injections import plan_faults
from harness.scenario.limits import allowed_windows, check_blast_radius, check_it_ever_fits
from harness.scenario.manifest import Target, check_value, load_target
from harness.scenario.models import LoadModel, Retries, Scenario, Wishes
from harness.scenario.regions import spread
from harness.scenario.source import read_file
from harness.scenario.timeline import Course, lay_out
from harness.scenario.validation import validate

MAX_REPEAT = 100
MASK = "***"
_SECRET_WORDS = ("password", "passwd", "token", "secret", "key", "credential")


def resolve(
    file: Path,
    *,
    catalogue: Mapping[str, FaultType],
    variant: str | None = None,
    seed: int | None = None,
    repeat: int = 1,
    only: str | None = None,
    overrides: Sequence[str] = (),
    existing: Existing = NOTHING,
) -> Plan:
    """The plan of a scenario file; nothing is started or touched.

    `variant` takes the place of the file's own, `overrides` are `path=value` and win over everything in the file.
    Without a `seed` one is drawn; the plan always carries it. `repeat` pairs of arms are interleaved in an order that
    is drawn; `only` keeps the arms of one kind, `baseline` or `fault`. `existing` takes the place of what the target
    would start.
    Raises ScenarioError for anything that is wrong with the file, its target or the command line.
    """
    if not 1 <= repeat <= MAX_REPEAT:
        raise ScenarioError(f"expected 1 to {MAX_REPEAT} repeats", file=f"--repeat {repeat}")
    if seed is not None and not 0 <= seed < 2**63:
        raise ScenarioError("expected a whole number from 0 to 2^63 - 1", file=f"--seed {seed}")
    if only not in (None, "baseline", "fault"):
        raise ScenarioError("expected `baseline` or `fault`", file=f"--only {only}")
    document = read_file(file)
    if variant is not None:
        document = document.replaced(("variant",), variant, f"--variant {variant}")
    document = command_line.apply(document, overrides)
    scenario = validate(Scenario, document)
    target = _find_target(scenario.target, file, document)
    _check_setup(target, "", scenario.settings, (), document)
    common = with_changes(target, scenario.servers, scenario.processes, document)
    for name, other in scenario.variants.items():
        _check_setup(target, other.preset, other.settings, ("variants", name), document)
        with_changes(common, other.servers, other.processes, document, ("variants", name))
        _check_faults(scenario, name, document)
    preset = _preset(scenario, target, document)

    document = document.grafted(("variants", scenario.variant, "load"), ("load",), levels=2)
    document = document.grafted(("variants", scenario.variant, "settings"), ("settings",), levels=1)
    for part in ("servers", "processes"):
        document = document.grafted(("variants", scenario.variant, part), (part,), levels=2)
    for index, fault in enumerate(scenario.faults):
        patch = ("variants", scenario.variant, "faults", fault.kind)
        document = document.grafted(patch, ("faults", index, fault.kind), levels=1)
    document = command_line.apply(document, overrides)
    scenario = validate(Scenario, document)
    target = _as_wished(target, scenario, existing, document)
    if scenario.settings and not target.is_ours(target.entry):
        raise document.key_error(
            ("settings",),
            f"have no effect on {target.entry}, which runs already",
            remedy="set them where it is started, and leave them out here",
        )
    _check_endpoints(scenario, target, document)
    phases, course = lay_out(scenario.load, document)
    faults = plan_faults(scenario.faults, catalogue, target, phases, document)
    check_blast_radius(scenario.blast_radius, faults, catalogue, target, document)
    if scenario.hysteresis is not None:
        wait_s = target.longest_wait_s(preset, scenario.settings)
        more = shed_and_return(scenario.hysteresis, scenario.load, phases, faults, wait_s, document)
        phases, course = phases + more[0], course.then(more[1])
        document = _with_lengths(document, more[0])
    storms = [Retries(policy="immediate", limit=one.params["retries"]) for one in faults if one.kind == RETRY_STORM]
    load = _load(scenario.load, course, _locustfile(scenario.load, file, document), _seed(seed), storms)
    resolved = _resolved(document.data, scenario, load, target.values(preset, scenario.settings))
    resolved |= {"existing": existing.to_json()} if existing != NOTHING else {}
    plan = Plan(
        name=scenario.name,
        hypothesis=scenario.hypothesis,
        scenario_file=str(file),
        scenario=resolved,
        scenario_sha256=hashlib.sha256(_canonical(resolved)).hexdigest(),
        target_name=target.name,
        target_folder=str(target.folder),
        variant=scenario.variant or "default",
        settings=target.environment(preset, scenario.settings),
        arms=_arms(repeat, only, load.seed, ("planned", "expected") if scenario.design == "2x2" else ("planned",)),
        phases=phases,
        load=load,
        faults=faults,
        expect=scenario.expect,
        abort_when=scenario.abort_when,
        seed=load.seed,
        expected_load=_expected(scenario.load, load, faults, document) if scenario.design == "2x2" else None,
        allowed=allowed_windows(scenario.allowed),
    )
    check_it_ever_fits(plan, document)
    return plan


def target_of(plan: Plan, existing: Existing = NOTHING) -> Target:
    """The target of a plan as it is to be started. Raises ScenarioError when its manifest has changed meanwhile."""
    data = dict(plan.scenario)
    wishes = Wishes.model_validate({key: data[key] for key in Wishes.model_fields if key in data})
    return _as_wished(
        load_target(plan.target_folder), wishes, existing, Document(Path(plan.scenario_file), data, {}, {})
    )


def _as_wished(target: Target, wishes: Wishes, existing: Existing, document: Document) -> Target:
    target = with_existing(target, existing, wishes.hosts)
    target = with_changes(target, wishes.servers, wishes.processes, document)
    return spread(target, _regions(wishes, target, document))


def _regions(wishes: Wishes, target: Target, document: Document) -> tuple[str, ...]:
    if wishes.regions and target.existing:
        raise document.error(
            ("regions",),
            f"regions are made of parts that the harness starts, and {', '.join(target.existing)} runs already",
            remedy="leave `regions` out, or let the harness start everything",
        )
    if len(wishes.regions) == 1:
        raise document.error(("regions",), "one region is no region", remedy="name two, or leave `regions` out")
    for index, region in enumerate(wishes.regions):
        if region in wishes.regions[:index]:
            raise document.error(("regions", index), f"`{region}` is there twice")
    return wishes.regions


def _expected(model: LoadModel, load: Load, faults: Iterable[PlannedFault], document: Document) -> Load:
    """The load without the spike: never above the steady rate. Raises ScenarioError where the fault meets no spike."""
    steady = model.rate
    if steady is None or load.waves or load.traces:
        raise document.key_error(
            ("design",),
            "2x2 needs the open model and phases with plain rates, to know what the load is without its spike",
            remedy="leave `design` out, or give the phases a `rate` each",
        )
    at_fault = [
        piece.peak
        for piece in load.segments
        if any(piece.start_s < fault.end_s and fault.at_s < piece.end_s for fault in faults)
    ]
    if max(at_fault, default=0.0) <= steady:
        raise document.key_error(
            ("design",),
            "2x2 asks what a spike and a fault do together, but no fault is in a phase above the steady rate",
            remedy="put the fault in a phase such as `{spike: 20s, rate: +30%}`, or leave `design` out",
        )
    capped = (
        replace(piece, rate_start=min(piece.rate_start, steady), rate_end=min(piece.rate_end, steady))
        for piece in load.segments
    )
    return replace(load, segments=tuple(capped))


def _with_lengths(document: Document, phases: Iterable[Phase]) -> Document:
    """The document with the lengths of the shed and return phases filled in."""
    lengths = {phase.name: units.format_duration(round(phase.end_s - phase.start_s, 9)) for phase in phases}
    return document.replaced(("hysteresis",), lengths, "hysteresis")


def _seed(given: int | None) -> int:
    return secrets.randbits(32) if given is None else given


def _find_target(name: str, file: Path, document: Document) -> Target:
    here = file.resolve().parent
    search = [here, here / "targets", here.parent / "targets", Path.cwd() / "targets", shipped("targets")]
    try:
        return load_target(name, search)
    except ScenarioError as error:
        if error.file:
            raise
        raise document.error(("target",), error.message, remedy=error.remedy) from error


def _check_setup(target: Target, preset: str, settings: Mapping[str, str], path: Keys, document: Document) -> None:
    if preset and preset not in target.presets:
        remedy = nearest(preset, target.presets)
        raise document.error((*path, "preset"), f"the target has no preset `{preset}`", remedy=remedy)
    for name, value in settings.items():
        check_value(target, document, (*path, "settings", name), name, value)


def _check_faults(scenario: Scenario, variant: str, document: Document) -> None:
    kinds = [fault.kind for fault in scenario.faults]
    for kind in scenario.variants[variant].faults:
        path = ("variants", variant, "faults", kind)
        if kind not in kinds:
            remedy = nearest(kind, kinds)
            raise document.key_error(path, f"the scenario has no fault `{kind}` to change", remedy=remedy)
        if kinds.count(kind) > 1:
            raise document.key_error(path, f"which of the {kinds.count(kind)} faults `{kind}` is meant can't be told")


def _preset(scenario: Scenario, target: Target, document: Document) -> str:
    """The preset of the chosen variant: through the scenario's `variants`, or directly where there are none."""
    chosen, known = scenario.variant, scenario.variants or target.presets
    if chosen and chosen not in known:
        raise document.error(("variant",), f"unknown variant `{chosen}`", remedy=nearest(chosen, known))
    if not scenario.variants:
        return chosen
    if not chosen:
        raise document.error(("variant",), "is missing: which one of `variants`", remedy=nearest("", known))
    return scenario.variants[chosen].preset


def _check_endpoints(scenario: Scenario, target: Target, document: Document) -> None:
    named: list[tuple[Keys, str]] = [(("load", "retries", name), name) for name in scenario.load.retries]
    named += [(("expect", index), expectations.parse(text).endpoint) for index, text in enumerate(scenario.expect)]
    named += [
        (("abort-when", index), expectations.parse_abort(text).endpoint)
        for index, text in enumerate(scenario.abort_when)
    ]
    for index, text in enumerate(scenario.expect):
        if expectations.parse(text).form == "audit" and target.audit is None:
            raise document.error(
                ("expect", index),
                f"{target.name} has no `audit` in its target.yaml, so nobody can look up what was acknowledged",
                remedy="describe there which endpoint acknowledges writes, and the command that looks them up",
            )
    for path, endpoint in named:
        if endpoint and endpoint not in target.dependencies:
            remedy = nearest(endpoint, target.dependencies)
            raise document.key_error(path, f"the target declares no endpoint `{endpoint}`", remedy=remedy)


def _locustfile(load: LoadModel, file: Path, document: Document) -> Path:
    path = (file.resolve().parent / load.users).resolve()
    if not path.is_file():
        remedy = "give a path relative to the scenario file"
        raise document.error(("load", "users"), f"no locustfile at {path}", remedy=remedy)
    return path


def _load(model: LoadModel, course: Course, locustfile: Path, seed: int, storms: Iterable[Retries]) -> Load:
    closed, peak = model.model == "closed", course.peak
    retries = (*model.retries.values(), *storms)
    return Load(
        locustfile=str(locustfile),
        spacing=model.arrivals,
        segments=course.segments,
        seed=seed,
        users=math.ceil(peak) if closed else model.pool or pool_size(peak, model.timeout, retries),
        timeout_s=model.timeout,
        patience_s=model.timeout,
        retries={
            name: Retry(retry.policy, retry.limit, retry.base, retry.cap, retry.budget)
            for name, retry in model.retries.items()
            if retry.policy != "none"
        },
        model=model.model,
        options=model.options,
        waves=course.waves,
        traces=course.traces,
    )


def pool_size(peak_rate: float, timeout_s: float, retries: Iterable[Retries]) -> int:
    """Virtual users so that an arrival finds a free one even when every attempt of every arrival times out.

    Little's law, rate x time held, where the time is a timeout per attempt and the waits between them, for the
    endpoint that holds longest; on top 10 % and four standard deviations of a Poisson count.
    """
    held_s = max((_held_s(timeout_s, retry) for retry in retries), default=timeout_s)
    mean = peak_rate * held_s
    return math.ceil(1.1 * mean + 4 * math.sqrt(mean)) + 5


def _held_s(timeout_s: float, retry: Retries) -> float:
    waits = [min(retry.cap, retry.base * 2.0**k) for k in range(retry.limit)] if retry.policy == "exponential" else []
    share = retry.allowed / retry.limit if retry.limit else 0.0
    return timeout_s * (1 + retry.allowed) + sum(waits) * share


def _arms(repeat: int, only: str | None, seed: int, loads: Sequence[ArmLoad]) -> tuple[Arm, ...]:
    """Pairs of arms, side by side; of a 2x2 design two pairs each time, the second at the expected load.

    Of every two repeats the second goes the other way round than the first, and that way is drawn, so that neither a
    drift of the machine nor a rhythm of it goes along with the order.
    """
    drawn = random.Random(f"order of arms {seed}")
    cells: list[tuple[ArmLoad, ArmKind]] = [(load, kind) for load in loads for kind in ("baseline", "fault")]
    arms: list[Arm] = []
    for pair in range(1, repeat + 1):
        if pair % 2 == 0:
            cells = cells[::-1]
        elif repeat > 1:
            drawn.shuffle(cells)
        names = {"planned": "", "expected": "expected-"}
        arms += [Arm(f"{names[load]}{kind}-{pair}", kind, pair, load) for load, kind in cells if only in (None, kind)]
    return tuple(arms)


def _resolved(data: Mapping[str, Any], scenario: Scenario, load: Load, settings: Mapping[str, str]) -> dict[str, Any]:
    """The scenario with the user's own keys and words, what was left out filled in, and secrets masked."""
    chosen = {name: body for name, body in data.get("variants", {}).items() if name == scenario.variant}
    filled = {"model": load.model, "timeout": units.format_duration(load.timeout_s)}
    if load.model == "open":
        filled |= {"arrivals": load.spacing, "pool": str(load.users)}
    return {
        **data,
        **({"variants": {name: _masked(body) for name, body in chosen.items()}} if chosen else {}),
        "variant": scenario.variant or "default",
        "settings": _masked(settings),
        "load": {**filled, **data["load"]},
        "expect": list(scenario.expect),
        "abort-when": list(scenario.abort_when),
    }


def _masked(values: Mapping[str, Any]) -> dict[str, Any]:
    masked: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            masked[name] = _masked(value)
        else:
            masked[name] = MASK if any(word in name.lower() for word in _SECRET_WORDS) else value
    return masked


def _canonical(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
