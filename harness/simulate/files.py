"""A target's `model.yaml`: what `harness simulate` knows of a stack; its words are explained in docs/simulation.md.

Where a number or a time is expected, the name of one of the target's settings may stand instead: so the presets and
overrides of a scenario act on the model as they do on the real stack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness import units
from harness.errors import ScenarioError, nearest
from harness.scenario.document import Document, Keys
from harness.scenario.manifest import CLIENT, Target
from harness.scenario.source import read_file
from harness.scenario.types import Model as FileModel
from harness.scenario.types import kind_of
from harness.scenario.validation import validate
from harness.simulate import model as parts

FILE = "model.yaml"
_STEP_KEYS = ("work", "hold", "call", "cached")
_INNER_KEYS = {"work": (), "hold": ("do",), "call": ("do", "trips", "tolerated"), "cached": ("miss", "fallback")}
_SETTING_OF = {"integer": "number", "number": "number", "duration": "duration", "boolean": "flag", "string": ""}

Word = str


class _Pool(FileModel):
    size: Word
    wait: Word = ""
    queue: Word = ""


class _Component(FileModel):
    replicas: Word = ""
    workers: Word = ""
    queue: Word = ""
    shed_after: Word = ""
    balance: parts.Balance = "round-robin"
    pools: dict[str, _Pool] = Field(default_factory=dict)


class _Breaker(FileModel):
    enabled: Word = "true"
    failures: Word
    reset: Word


class _Edge(FileModel):
    trip: Word = "0s"
    timeout: Word = ""
    retries: Word = "0"
    backoff: Word = "0s"
    breaker: _Breaker | None = None


class _Cache(FileModel):
    component: str
    keys: Word
    ttl: Word = ""


class _Time(FileModel):
    mean: Word
    shape: Literal["constant", "exponential", "lognormal"] = "constant"
    spread: Word = "0"


def _time(value: Any) -> Any:
    return {"mean": value} if isinstance(value, str) else value


class _Step(FileModel):
    work: Annotated[_Time, BeforeValidator(_time)] | None = None
    hold: str | None = None
    call: str | None = None
    cached: str | None = None
    do: tuple[_Step, ...] = ()
    miss: tuple[_Step, ...] = ()
    trips: Word = "1"
    tolerated: Word = "false"
    fallback: Word = "false"

    @model_validator(mode="after")
    def _one_kind(self) -> _Step:
        kinds = [key for key in _STEP_KEYS if key in self.model_fields_set]
        if len(kinds) != 1:
            raise ValueError(f"a step is one of {', '.join(_STEP_KEYS)}; this one has {' and '.join(kinds) or 'none'}")
        for key in self.model_fields_set - {kinds[0], *_INNER_KEYS[kinds[0]]}:
            raise ValueError(f"`{key}` does not belong to a step of `{kinds[0]}`")
        return self


class _File(FileModel):
    components: dict[str, _Component]
    edges: dict[str, _Edge] = Field(default_factory=dict)
    caches: dict[str, _Cache] = Field(default_factory=dict)
    endpoints: dict[str, tuple[_Step, ...]] = Field(min_length=1)
    tasks: dict[str, str] = Field(
        default_factory=dict, description="task of a locustfile -> endpoint, where they differ"
    )


@dataclass(frozen=True, slots=True)
class TargetModel:
    """A target's model with its settings filled in. `tasks` maps tasks of locustfiles to endpoints of other names."""

    model: parts.Model
    tasks: Mapping[str, str]


def load_model(target: Target, environment: Mapping[str, str]) -> TargetModel:
    """The model beside a target's manifest; `environment` holds the target's settings as a plan does.

    Raises ScenarioError: there is none, or something is wrong in it.
    """
    path = target.folder / FILE
    if not path.is_file():
        raise ScenarioError(
            f"the target {target.name} has no model that could be simulated: there is no {path}",
            remedy="write one: its components with their workers and pools, and the steps of each endpoint; "
            "docs/simulation.md explains the words, targets/sample-flask-app/model.yaml is an example",
        )
    document = read_file(path)
    return _Reader(document, target, environment).read(validate(_File, document))


class _Reader:
    """Turns a file's words into a model; everything wrong is answered at its line."""

    def __init__(self, document: Document, target: Target, environment: Mapping[str, str]) -> None:
        self._document = document
        self._target = target
        self._environment = environment

    def read(self, file: _File) -> TargetModel:
        target = self._target
        self._names(file)
        components = {name: self._component(name, one) for name, one in file.components.items()}
        edges = {name: self._edge(("edges", name), one) for name, one in file.edges.items()}
        caches = {name: self._cache(("caches", name), one, file) for name, one in file.caches.items()}
        endpoints = {
            name: self._steps(("endpoints", name), steps, target.entry, file) for name, steps in file.endpoints.items()
        }
        return TargetModel(parts.Model(target.entry, components, endpoints, edges, caches), file.tasks)

    def _names(self, file: _File) -> None:
        target, known = self._target, self._target.components
        for name in file.components:
            self._known(("components", name), name, known, "component of the target", key=True)
        self._known(("components",), target.entry, file.components, "component")
        for name in file.edges:
            self._known(("edges", name), name, target.edge_names, "edge of the target", key=True)
        for name in file.endpoints:
            self._known(("endpoints", name), name, target.dependencies, "endpoint of the target", key=True)
        for task, endpoint in file.tasks.items():
            self._known(("tasks", task), endpoint, file.endpoints, "endpoint")

    def _component(self, name: str, one: _Component) -> parts.Component:
        path: Keys = ("components", name)
        process = self._target.processes.get(name)
        replicas = (
            self._count((*path, "replicas"), one.replicas) if one.replicas else process.replicas if process else 1
        )
        pools = {
            pool: parts.Pool(
                self._count((*path, "pools", pool, "size"), given.size),
                self._duration((*path, "pools", pool, "wait"), given.wait) if given.wait else math.inf,
                self._count((*path, "pools", pool, "queue"), given.queue) if given.queue else None,
            )
            for pool, given in one.pools.items()
        }
        if parts.WORKERS in pools:
            raise self._document.key_error(
                (*path, "pools", parts.WORKERS), "the name is taken by the component's workers"
            )
        return parts.Component(
            replicas=max(1, replicas),
            workers=self._count((*path, "workers"), one.workers, least=1) if one.workers else None,
            queue=self._count((*path, "queue"), one.queue) if one.queue else None,
            shed_after_s=self._duration((*path, "shed-after"), one.shed_after) if one.shed_after else 0.0,
            pools=pools,
            balance=one.balance,
        )

    def _edge(self, path: Keys, one: _Edge) -> parts.Edge:
        breaker = None
        if one.breaker is not None and self._flag((*path, "breaker", "enabled"), one.breaker.enabled):
            breaker = parts.Breaker(
                self._count((*path, "breaker", "failures"), one.breaker.failures),
                self._duration((*path, "breaker", "reset"), one.breaker.reset),
            )
        if path[1] == f"{CLIENT}->{self._target.entry}" and (one.timeout or one.breaker or one.retries != "0"):
            raise self._document.error(
                path, "clients' timeouts and retries are the scenario's", remedy="keep `trip` only"
            )
        return parts.Edge(
            trip_s=self._duration((*path, "trip"), one.trip),
            timeout_s=self._duration((*path, "timeout"), one.timeout) if one.timeout else math.inf,
            retries=self._count((*path, "retries"), one.retries),
            backoff_s=self._duration((*path, "backoff"), one.backoff),
            breaker=breaker,
        )

    def _cache(self, path: Keys, one: _Cache, file: _File) -> parts.Cache:
        self._known((*path, "component"), one.component, file.components, "component")
        return parts.Cache(
            one.component,
            self._count((*path, "keys"), one.keys, least=1),
            self._duration((*path, "ttl"), one.ttl) if one.ttl else math.inf,
        )

    def _steps(self, path: Keys, steps: Sequence[_Step], component: str, file: _File) -> tuple[parts.Step, ...]:
        return tuple(self._step((*path, index), step, component, file) for index, step in enumerate(steps))

    def _step(self, path: Keys, step: _Step, component: str, file: _File) -> parts.Step:
        if step.work is not None:
            return parts.Work(self._work((*path, "work"), step.work))
        if step.hold is not None:
            self._known((*path, "hold"), step.hold, file.components[component].pools, f"pool of {component}")
            return parts.Hold(step.hold, self._steps((*path, "do"), step.do, component, file))
        if step.call is not None:
            self._known((*path, "call"), step.call, file.components, "component")
            self._known((*path, "call"), f"{component}->{step.call}", self._target.edge_names, "edge of the target")
            return parts.Call(
                step.call,
                self._steps((*path, "do"), step.do, step.call, file),
                self._count((*path, "trips"), step.trips, least=1),
                self._flag((*path, "tolerated"), step.tolerated),
            )
        assert step.cached is not None
        self._known((*path, "cached"), step.cached, file.caches, "cache")
        miss = self._steps((*path, "miss"), step.miss, component, file)
        return parts.Cached(step.cached, miss, self._flag((*path, "fallback"), step.fallback))

    def _work(self, path: Keys, time: _Time) -> parts.Time:
        in_file = (*path, "mean") if (*path, "mean") in self._document.values else path
        mean_s = self._duration(in_file, time.mean)
        if time.shape == "exponential":
            return parts.Exponential(mean_s)
        if time.shape == "lognormal":
            return parts.Lognormal(mean_s, self._number((*path, "spread"), time.spread))
        return parts.Constant(mean_s)

    def _known(self, path: Keys, name: str, known: Any, what: str, *, key: bool = False) -> None:
        if name not in known:
            error = self._document.key_error if key else self._document.error
            raise error(path, f"no {what} `{name}`", remedy=nearest(name, known))

    def _setting(self, word: str, kind: str) -> str | None:
        """The value of the setting that `word` names, as the environment has it; None when it names none."""
        setting = self._target.settings.get(word)
        if setting is None or _SETTING_OF[setting.type] != kind:
            return None
        return self._environment[setting.env]

    def _duration(self, path: Keys, word: str) -> float:
        value = self._setting(word, "duration")
        if value is not None:
            return float(value)
        try:
            return units.parse_duration(word)
        except ValueError as error:
            raise self._wrong(path, word, "a duration such as `5ms`", "duration") from error

    def _number(self, path: Keys, word: str) -> float:
        value = self._setting(word, "number") or word
        try:
            number = float(value)
        except ValueError as error:
            raise self._wrong(path, word, "a number", "number") from error
        if not 0 <= number < math.inf:
            raise self._wrong(path, word, "a number that is not negative", "number")
        return number

    def _count(self, path: Keys, word: str, least: int = 0) -> int:
        value = self._setting(word, "number") or word
        if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) >= least):
            raise self._wrong(
                path, word, f"a whole number of at least {least}" if least else "a whole number", "number"
            )
        return int(value)

    def _flag(self, path: Keys, word: str) -> bool:
        value = self._setting(word, "flag") or word
        if value not in ("true", "false", "1", "0"):
            raise self._wrong(path, word, "true or false", "flag")
        return value in ("true", "1")

    def _wrong(self, path: Keys, word: str, expected: str, kind: str) -> ScenarioError:
        settings = [name for name, setting in self._target.settings.items() if _SETTING_OF[setting.type] == kind]
        return self._document.error(
            path, f"expected {expected} or a setting of the target, got {kind_of(word)}", remedy=nearest(word, settings)
        )
