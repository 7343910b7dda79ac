"""The model of run.json: what was planned, which arms there are, and the digests of the other files.

Keys that are not listed here are kept and ignored, so that records of newer minor versions and of other programs
can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.clock import NS
from harness.errors import RecordError
from harness.record.clocks import ClockSummary

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class WorkerClockInfo(_Part):
    """The clock of a load worker on another host, as it was measured while its arm ran; its rows are shifted by it.

    At the arm's start it was `offset_ns` ahead of the conductor's, and gained `drift_ppm` microseconds per second. The
    rows are aligned to within `uncertainty_ns`. There were `readings` of it.
    """

    worker: str
    offset_ns: int
    uncertainty_ns: int = Field(ge=0)
    drift_ppm: float = Field(allow_inf_nan=False)
    readings: int = Field(ge=0)

    @classmethod
    def of(cls, worker: str, clock: ClockSummary) -> WorkerClockInfo:
        """What was found of the clock of the worker of that name."""
        return cls(worker=worker, **asdict(clock))


class ArmInfo(_Part):
    """An arm that was begun. `duration_s` is the planned one, or how far the arm got when the run was stopped in it.

    `pair` numbers the baseline and fault arms that belong together; without it, the n-th of each kind do. `invalid`:
    why this arm says nothing about the system; the others may. `load`: `expected` for an arm without the scenario's
    spike, which never went above the steady rate; such arms are compared with each other and with those that have it.
    """

    name: str = Field(min_length=1)
    kind: Literal["baseline", "fault"]
    start_utc: str | float = Field(description="ISO 8601; seconds since 1970 are read too")
    start_monotonic_ns: int
    duration_s: float = Field(ge=0, allow_inf_nan=False)
    rows: int = Field(ge=0)
    pair: int | None = None
    invalid: tuple[str, ...] = ()
    load: Literal["planned", "expected"] = "planned"
    worker_clocks: tuple[WorkerClockInfo, ...] = Field(
        default=(), description="of load workers on other hosts; those on the conductor's host share its clock"
    )


class PhaseInfo(_Part):
    """A named stretch `[start_s, end_s)` of every arm, as planned; `rate` is its final arrival rate (1/s)."""

    name: str
    start_s: float = Field(allow_inf_nan=False)
    end_s: float = Field(allow_inf_nan=False)
    rate: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_seconds(cls, data: Any) -> Any:
        """Accepts planned times in ns (`start_ns`, `end_ns`), bare (`start`, `end`), or a `duration_s` for an end."""
        if not isinstance(data, Mapping):
            return data
        given = dict(data)
        for bound in ("start", "end"):
            if f"{bound}_ns" in given:
                given.setdefault(f"{bound}_s", given[f"{bound}_ns"] / NS)
            elif bound in given:
                given.setdefault(f"{bound}_s", given[bound])
        if "duration_s" in given and "start_s" in given:
            given.setdefault("end_s", given["start_s"] + given["duration_s"])
        return given


class LoadInfo(_Part):
    """How the load was made. In the closed model, arrivals were due whenever their user was ready for them.

    `users` is how many there were at most; `traces` lists what was replayed, with digests of the sections.
    """

    model: Literal["open", "closed"] = "open"
    spacing: str | None = None
    users: int | None = None
    traces: tuple[dict[str, Any], ...] = ()


class FaultInfo(_Part):
    """A planned fault: `id` as in the events' `fault`, its time in seconds since the arm's start.

    `places` is what it hits, edges or components and replicas, when that is not just `edge` or `component`.
    `params` are in base units (seconds, shares); `written` is the scenario's own text, with units.
    """

    id: str
    kind: str = ""
    component: str = ""
    edge: str | None = None
    places: tuple[str, ...] = ()
    at_s: float | None = None
    for_s: float | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    written: dict[str, Any] = Field(default_factory=dict)


class TargetInfo(_Part):
    """Where damage is expected: `dependencies` maps an endpoint to the components it has a declared path to.

    `component_dependencies` maps a component to those it calls, `shared_resources` a resource to who shares it,
    `retries` an edge (`app->auth`) to how often a failed call over it is made again. `existing` says where components
    are that ran already: they were not started afresh before every arm.
    """

    dependencies: dict[str, tuple[str, ...]]
    component_dependencies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    shared_resources: dict[str, Any] = Field(default_factory=dict)
    retries: dict[str, int] = Field(default_factory=dict)
    existing: dict[str, str] = Field(default_factory=dict)

    @field_validator("shared_resources", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        """Accepts a bare list of names."""
        return {str(name): [] for name in value} if isinstance(value, list) else value


class ValidityInfo(_Part):
    """Whether the run says anything about the system under test; the reasons say why it does not."""

    valid: bool
    reasons: tuple[str, ...] = ()


class FileInfo(_Part):
    """A file's SHA-256 in hexadecimal, and its number of rows (lines in a .jsonl)."""

    sha256: str
    rows: int | None = None


class RunInfo(_Part):
    """run.json."""

    schema_version: int | float | str
    run_id: str
    scenario: dict[str, Any] = Field(description="resolved, with the user's own keys; secrets removed")
    scenario_sha256: str = ""
    arms: tuple[ArmInfo, ...] = Field(description="in the order in which they ran; arms never begun are absent")
    phases: tuple[PhaseInfo, ...]
    load: LoadInfo = LoadInfo()
    target: TargetInfo
    faults: tuple[FaultInfo, ...] = ()
    validity: ValidityInfo
    files: dict[str, FileInfo] = Field(
        default_factory=dict, description="digests of the other files; empty until the run has ended"
    )
    seeds: Any = None
    margins: Any = None
    versions: Any = None
    host: Any = None
    simulated: dict[str, Any] | None = Field(
        None, description="present when nothing was measured: how it was simulated, and totals over all arrivals"
    )

    @field_validator("faults", mode="before")
    @classmethod
    def _with_id(cls, value: Any) -> Any:
        """Only faults that events can refer to; the form of others is their program's own."""
        return [fault for fault in value if isinstance(fault, Mapping) and "id" in fault] if value else ()

    @model_validator(mode="after")
    def _unique_arms(self) -> RunInfo:
        names = [arm.name for arm in self.arms]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"arms: the name `{repeated[0]}` is given twice")
        return self

    @property
    def name(self) -> str:
        """The scenario's name, else the run's id."""
        return str(self.scenario.get("name") or self.run_id)

    @property
    def hypothesis(self) -> str:
        """The scenario's hypothesis in its own words, or nothing."""
        return str(self.scenario.get("hypothesis") or "")

    @property
    def variant(self) -> str:
        """The variant of the target or scenario that ran, or nothing."""
        return str(self.scenario.get("variant") or "")

    @property
    def expect(self) -> tuple[str, ...]:
        """The expectations, in the scenario's own words."""
        given = self.scenario.get("expect") or ()
        return (given,) if isinstance(given, str) else tuple(str(line) for line in given)

    def pairs(self, load: Literal["planned", "expected"] = "planned") -> tuple[tuple[str, str], ...]:
        """`(baseline, fault)` arm names of a load that belong together: by `pair` where all have one, else by order."""
        arms = [arm for arm in self.arms if arm.load == load]
        baselines = [arm for arm in arms if arm.kind == "baseline"]
        faults = [arm for arm in arms if arm.kind == "fault"]
        if any(arm.pair is None for arm in arms):
            return tuple((one.name, other.name) for one, other in zip(baselines, faults, strict=False))
        by_pair = {arm.pair: arm.name for arm in baselines}
        return tuple((by_pair[arm.pair], arm.name) for arm in faults if arm.pair in by_pair)


def read_info(path: Path) -> RunInfo:
    """run.json of a record.

    Raises:
        RecordError: it is missing, not JSON, of a newer major version, or lacks a field: says which.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecordError(
            f"{path}: there is no run.json, so this is not a run record",
            remedy="name a folder that `harness run` made, such as results/<run-id>",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RecordError(
            f"{path}: is not JSON: {error}", remedy="the file was damaged or edited: fetch the record again"
        ) from error
    return parse_info(data, path)


def parse_info(data: Any, path: Path) -> RunInfo:
    """run.json's content as a `RunInfo`; `path` is only named in errors. Raises RecordError like `read_info`."""
    if not isinstance(data, dict):
        raise RecordError(f"{path}: a JSON object is expected, a {type(data).__name__} was found")
    _check_version(data, path)
    try:
        return RunInfo.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = _dotted(first["loc"])
        reason = "the field is missing" if first["type"] == "missing" else first["msg"]
        raise RecordError(
            f"{path}: {where + ': ' if where else ''}{reason}",
            remedy="`harness schema --record` prints what run.json must hold",
        ) from error


def _check_version(data: dict[str, Any], path: Path) -> None:
    """Before anything else: a newer major version may mean something else by any field."""
    if "schema_version" not in data:
        raise RecordError(
            f"{path}: schema_version: the field is missing",
            remedy="`harness schema --record` prints what run.json must hold",
        )
    version = data["schema_version"]
    try:
        major = int(str(version).split(".")[0])
    except ValueError:
        raise RecordError(
            f"{path}: schema_version: a version such as {SCHEMA_VERSION} is expected, {version!r} was found"
        ) from None
    if major > SCHEMA_VERSION:
        raise RecordError(
            f"{path}: schema_version: the record has version {version}, this harness reads up to {SCHEMA_VERSION}",
            remedy="upgrade the harness: pip install --upgrade load-fault-harness",
        )


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
