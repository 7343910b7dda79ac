"""What a scenario file may say. The keys here, in kebab-case, are the keys of the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness import units
from harness.allowed import ANY
from harness.errors import nearest
from harness.scenario.types import (
    AbortSentence,
    Count,
    Days,
    Duration,
    Flag,
    Hours,
    Limit,
    Model,
    Name,
    Rate,
    Sentence,
    SettingValue,
    Share,
    Size,
    Speed,
    Standby,
    Text,
    Where,
    Zone,
    kind_of,
)

PHASE_KEYS = ("rate", "concurrency", "ramp", "sine", "period", "trace", "from", "speed")
FAULT_KEYS = ("on", "at", "for")


class Retries(Model):
    """What clients of one endpoint do after a failed attempt."""

    policy: Literal["none", "immediate", "exponential"] = Field(
        description="none; immediate: at once; exponential: full jitter, uniform between 0 and base doubled each time"
    )
    limit: Limit = Field(0, description="retries per arrival at most")
    base: Duration = Field(
        0.1, description="exponential: the first wait is at most this", json_schema_extra={"default": "100ms"}
    )
    cap: Duration = Field(
        2.0, description="exponential: no wait is longer than this", json_schema_extra={"default": "2s"}
    )
    budget: Share | None = Field(None, description="share of arrivals that may be retried; absent: no budget")

    @model_validator(mode="after")
    def _consistent(self) -> Retries:
        if self.policy != "none" and self.limit == 0:
            raise ValueError(f"the policy `{self.policy}` needs a limit of at least 1, such as `limit: 3`")
        if self.policy == "none" and self.model_fields_set - {"policy"}:
            raise ValueError("the policy `none` takes no other keys")
        if self.policy == "immediate" and self.model_fields_set & {"base", "cap"}:
            raise ValueError("`base` and `cap` belong to the policy `exponential`")
        return self

    @property
    def allowed(self) -> float:
        """Retries per arrival at most, when every attempt fails for long."""
        return self.limit if self.budget is None else min(self.limit, self.budget)


@dataclass(frozen=True, slots=True)
class Level:
    """How much load: absolute (arrivals per second, users), or relative to the steady level (0.3 for `+30%`)."""

    value: float
    relative: bool

    def of(self, steady: float) -> float:
        """The absolute level when the steady one is `steady`."""
        return round(steady * (1 + self.value), 9) if self.relative else self.value


def _phase_rate(value: Any) -> Level:
    return _level(value, "a rate", "200/s", units.parse_rate)


def _phase_concurrency(value: Any) -> Level:
    return _level(value, "a number of users", "65", _parse_users)


def _parse_users(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text):
        raise ValueError(f"expected a number of users such as `+30%` or `65`, got `{text}`")
    return int(text)


def _level(value: Any, what: str, example: str, parse: Callable[[str], float]) -> Level:
    if not isinstance(value, str):
        raise ValueError(f"expected {what} such as `+30%` or `{example}`, got {kind_of(value)}")
    if value.endswith("%"):
        if value[0] not in "+-":
            raise ValueError(f"expected a signed percentage such as `+{value}`, got `{value}`")
        level = Level(units.parse_percentage(value), relative=True)
    else:
        level = Level(parse(value), relative=False)
    if level.of(1.0) <= 0:
        raise ValueError(f"expected {what} above zero, got `{value}`")
    return level


def _amplitude(value: Any) -> Level:
    """How far a sine goes up and down; `30%` is relative here as well, but without a sign."""
    if not isinstance(value, str):
        raise ValueError(f"expected how far the rate goes up and down, such as `30%` or `40/s`, got {kind_of(value)}")
    relative = value.endswith("%")
    level = Level(units.parse_percentage(value) if relative else units.parse_rate(value), relative)
    if level.value <= 0 or value[0] in "+-":
        raise ValueError(f"expected a percentage or a rate above zero and without a sign, got `{value}`")
    return level


class PhaseEntry(Model):
    """`{spike: 40s, rate: +30%, ramp: 2s}`: a name with its duration, and how much load there is in it.

    Constant at its rate, after a linear ramp to it if need be; or a sine around it; or a section of a recorded trace.
    """

    name: Name
    duration: Duration
    rate: Annotated[Level, BeforeValidator(_phase_rate)] | None = None
    concurrency: Annotated[Level, BeforeValidator(_phase_concurrency)] | None = None
    ramp: Duration | None = None
    sine: Annotated[Level, BeforeValidator(_amplitude)] | None = None
    period: Duration | None = None
    trace: Where | None = None
    from_: Duration | None = Field(None, alias="from")
    speed: Speed | None = None

    @model_validator(mode="before")
    @classmethod
    def _unfolded(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"expected a phase such as `{{spike: 40s, rate: +30%}}`, got {kind_of(data)}")
        names = [key for key in data if key not in PHASE_KEYS]
        if len(names) != 1:
            hints = [nearest(name, PHASE_KEYS) for name in names if "did you mean" in nearest(name, PHASE_KEYS)]
            got = ", ".join(f"`{key}`" for key in data)
            raise ValueError(
                "; ".join(
                    [
                        f"expected one name with its duration, and perhaps some of {', '.join(PHASE_KEYS)}, got {got}",
                        *hints,
                    ]
                )
            )
        return {"name": names[0], "duration": data[names[0]], **{key: data[key] for key in PHASE_KEYS if key in data}}

    @model_validator(mode="after")
    def _consistent(self) -> PhaseEntry:
        if round(min(self.duration, self.ramp or self.duration), 9) == 0:
            raise ValueError("the phase or its ramp is shorter than a nanosecond")
        if self.ramp is not None and self.ramp > self.duration:
            raise ValueError("the ramp is longer than its phase")
        if (self.sine is None) != (self.period is None):
            raise ValueError("a sine needs both how far and how often, such as `sine: 30%, period: 20s`")
        if self.sine is not None and self.ramp == self.duration:
            raise ValueError("the ramp leaves no time for the sine")
        if self.trace is None and (self.from_ or self.speed):
            raise ValueError("`from` and `speed` belong to a `trace: FILE`")
        if self.trace is not None and (self.ramp or self.sine or self.concurrency):
            raise ValueError("a trace has a course of its own: only `from`, `speed` and a relative `rate` go with it")
        if self.trace is not None and self.rate and not self.rate.relative:
            raise ValueError("a trace has rates of its own; scale them by a signed percentage such as `rate: +30%`")
        return self


class FaultEntry(Model):
    """`- latency: {on: app->postgres, latency: 150ms, at: spike + 5s, for: 10s}`: a fault with where and when."""

    kind: str
    on: tuple[str, ...] = ()
    at: str
    for_: Duration = Field(alias="for")
    params: dict[str, str]

    @model_validator(mode="before")
    @classmethod
    def _unfolded(cls, data: Any) -> Any:
        if not isinstance(data, dict) or len(data) != 1:
            raise ValueError(
                f"expected a fault such as `redis-down: {{at: spike + 10s, for: 15s}}`, got {kind_of(data)}"
            )
        (kind, body), *_ = data.items()
        if not isinstance(body, dict):
            raise ValueError(f"expected `{kind}: {{at: spike + 10s, for: 15s}}`, got {kind_of(body)} after `{kind}:`")
        given = {key: body[key] for key in FAULT_KEYS if key in body}
        if isinstance(given.get("on"), str):
            given["on"] = [given["on"]]
        return {"kind": kind, "params": {key: body[key] for key in body if key not in FAULT_KEYS}, **given}


class LoadModel(Model):
    """The traffic: who (a locustfile), how often, in which phases, and how clients behave when something fails."""

    users: Where = Field(description="a locustfile, relative to this file")
    options: str = Field(
        "",
        description="for Locust and the locustfile, as after `locust` on a command line: tags, names of user classes, "
        "and options that the locustfile has added",
        examples=["--tags checkout", "Shopper --my-option 3"],
    )
    model: Literal["open", "closed"] = Field(
        "open",
        description="open: arrivals come at their rate whatever the system does; "
        "closed: each of so many users waits for its answer before it goes on, so a slow system gets less load",
    )
    arrivals: Literal["poisson", "uniform"] = Field("poisson", description="open model: how arrivals are spaced")
    rate: Rate | None = Field(None, description="open model: the steady rate; percentages of phases are of it")
    concurrency: Count | None = Field(
        None, description="closed model: how many users at the same time; percentages of phases are of it"
    )
    timeout: Duration = Field(
        2.0,
        description="how long a client waits for an answer, per attempt",
        json_schema_extra={"default": "2s"},
    )
    pool: Count | None = Field(
        None, description="open model: virtual users; from rate x timeout x (1 + retries) when absent"
    )
    retries: dict[str, Retries] = Field(default_factory=dict, description="by endpoint; others don't retry")
    phases: tuple[PhaseEntry, ...] = Field(min_length=2, description="in order; the first is `warm-up`")


class LoadPatch(Model):
    """What a variant changes about the load; the phases are the same for all variants."""

    rate: Rate | None = None
    concurrency: Count | None = None
    timeout: Duration | None = None
    pool: Count | None = None
    retries: dict[str, Retries] = Field(default_factory=dict)


class _Change(BaseModel):
    """Keys of a target's manifest that a scenario may give another value; those that it leaves out stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerChange(_Change):
    """What may be different about a server."""

    sentinel: Flag = Field(False, description="of redis: with a replica and three sentinels, or without")
    down_after: Duration = Field(1.0, description="how long a server is silent until a sentinel takes it to be down")
    standby: Standby = Field(None, description="of postgres: a second server that streams from it, and how")
    disk: Size | None = Field(None, description="of postgres: its data is on a disk in memory of that size")


class ProcessChange(_Change):
    """What may be different about the target's own programs."""

    replicas: Count = Field(1, description="how many of them")


class Variant(Model):
    """One way of setting up target and clients; load and fault stay the same, unless the question is about them."""

    preset: str = Field("", description="a preset of the target")
    settings: dict[str, SettingValue] = Field(default_factory=dict, description="single settings on top of the preset")
    servers: dict[Name, ServerChange] = Field(
        default_factory=dict, description="what is different about servers, in the words of target.yaml"
    )
    processes: dict[Name, ProcessChange] = Field(
        default_factory=dict, description="what is different about processes, in the words of target.yaml"
    )
    ends_as: Literal["none", "none or contained", "contained", "cascading", "metastable"] | None = Field(
        None, description="what this variant is known to show; not part of the hypothesis"
    )
    load: LoadPatch = Field(default_factory=LoadPatch)
    faults: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="over the fault of that kind, `autoscaling-lag: {for: 20s}`: to ask how long is too long",
    )


class Hysteresis(Model):
    """How long the load is nothing at the end of an arm, and how long it is back after that."""

    shed: Duration | None = Field(None, description="until every queue is empty; predicted when absent")
    return_: Duration | None = Field(None, alias="return", description="at the load before; predicted when absent")


def _hysteresis(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    if value not in _SWITCH:
        raise ValueError(f"expected `on`, `off` or `{{shed: 60s, return: 30s}}`, got {kind_of(value)}")
    return {} if _SWITCH[value] else None


_SWITCH = {"on": True, "true": True, "off": False, "false": False}


class BlastRadius(Model):
    """How far the faults themselves may reach; what they do to the rest is what the run finds out."""

    only: tuple[Where, ...] | None = Field(
        None, min_length=1, description="components and edges that faults may touch; an edge goes with where it leads"
    )
    replicas: Count | None = Field(None, description="replicas of a component hit at the same time, at most")


class AllowedTime(Model):
    """`{days: mon-fri, hours: 09:00-17:00, timezone: Europe/Berlin}`: a run begins and ends within these hours."""

    days: Days
    hours: Hours
    timezone: Zone


def _allowed(value: Any) -> Any:
    if value == ANY:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise ValueError(
            f"expected `{{days: mon-fri, hours: 09:00-17:00, timezone: UTC}}`, a list of such, or `{ANY}`, "
            f"got {kind_of(value)}"
        )
    return value


class Wishes(Model):
    """What a scenario wants of its target besides the settings."""

    regions: tuple[Name, ...] = Field(
        (),
        description="two names or more: the target stands once in each of these regions, with data of its own, "
        "and one front serves clients from all; its replicas are shared out among them",
    )
    servers: dict[Name, ServerChange] = Field(
        default_factory=dict, description="what is different about servers, in the words of target.yaml"
    )
    processes: dict[Name, ProcessChange] = Field(
        default_factory=dict, description="what is different about processes, in the words of target.yaml"
    )
    hosts: tuple[Where, ...] = Field(
        (), description="other machines that load and faults may reach; only this one when absent"
    )


class Scenario(Wishes):
    """A load, a fault in it, and what is expected to hold."""

    name: Name
    hypothesis: Text = Field(description="one sentence that the run may prove wrong")
    teaches: Text | None = Field(None, description="one line: what somebody learns from running this")
    target: Where = Field(description="a target by name, or the path of its folder")
    variant: str = Field("", description="one of `variants`; without them, a preset of the target")
    variants: dict[Name, Variant] = Field(default_factory=dict)
    settings: dict[str, SettingValue] = Field(default_factory=dict, description="single settings, for all variants")
    load: LoadModel
    faults: tuple[FaultEntry, ...] = Field(min_length=1)
    expect: tuple[Sentence, ...] = Field(min_length=1)
    abort_when: tuple[AbortSentence, ...] = ()
    blast_radius: BlastRadius = Field(
        default_factory=BlastRadius, description="what the faults may touch; anything in the target when absent"
    )
    allowed: Annotated[tuple[AllowedTime, ...], BeforeValidator(_allowed)] = Field(
        (), description="when it may be run; at any time when absent"
    )
    design: Literal["pairs", "2x2"] = Field(
        "pairs",
        description="pairs: without and with the faults; 2x2: both also at the expected load, without the spike",
    )
    hysteresis: Annotated[Hysteresis | None, BeforeValidator(_hysteresis)] = Field(
        None, description="whether shedding all load ends a failure that outlives its fault: two more phases at the end"
    )
