"""JSON Schema of scenario files and target manifests, for completion and checks in an editor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.allowed import ANY
from harness.faults.base import FaultType, Param
from harness.scenario.manifest import Manifest
from harness.scenario.models import PHASE_KEYS, Scenario
from harness.scenario.timeline import WARM_UP

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INSTANT = {
    "type": "string",
    "pattern": r"^([a-z][a-z0-9_.-]*(\s*\+\s*[0-9.]+(us|ms|s|m|h))?|[0-9.]+(us|ms|s|m|h))$",
    "description": "a moment: in a phase (`spike + 10s`), at its start (`spike`), or since the arm's start (`25s`)",
    "examples": ["spike + 10s", "25s"],
}
_PARAM_TYPES: dict[str, dict[str, Any]] = {
    "duration": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$"},
    "integer": {"type": ["integer", "string"], "pattern": "^[0-9]+$"},
    "number": {"type": ["number", "string"]},
    "percentage": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
    "size": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB)$"},
    "rate": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?/(s|min|h)$"},
    "byte-rate": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB)/s$"},
    "choice": {"type": "string"},
    "string": {"type": "string"},
}


def scenario_schema(catalogue: Mapping[str, FaultType]) -> dict[str, Any]:
    """The schema of a scenario file; it knows the faults of `catalogue` and their parameters."""
    schema = Scenario.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    duration = definitions["PhaseEntry"]["properties"]["duration"]
    definitions["PhaseEntry"] = _phase_schema(duration)
    definitions["LoadModel"]["oneOf"] = [
        {"required": ["rate"], "properties": {"model": {"const": "open"}, "concurrency": False}},
        {
            "required": ["model", "concurrency"],
            "properties": {"model": {"const": "closed"}, "rate": False, "arrivals": False, "pool": False},
        },
    ]
    definitions["FaultEntry"] = _fault_schema(duration, catalogue)
    changes = {name: {**one, "required": []} for name, one in definitions["FaultEntry"]["properties"].items()}
    definitions["Variant"]["properties"]["faults"] |= {"properties": changes, "additionalProperties": False}
    hysteresis = schema["properties"]["hysteresis"]
    hysteresis["anyOf"] = [{"enum": ["on", "off", True, False]}, hysteresis["anyOf"][0]]
    allowed = schema["properties"]["allowed"]
    listed = {key: allowed.pop(key) for key in ("type", "items")}
    allowed["anyOf"] = [{"const": ANY}, listed["items"], listed]
    return {"$schema": DIALECT, **schema, "title": "Scenario"}


def manifest_schema() -> dict[str, Any]:
    """The schema of a target's `target.yaml`."""
    schema = Manifest.model_json_schema(by_alias=True)
    schema["properties"]["edges"]["items"] = {
        "type": "string",
        "pattern": r"^[^\s>]+\s*->\s*\S+$",
        "examples": ["app->postgres"],
    }
    return {"$schema": DIALECT, **schema, "title": "Target"}


def _phase_schema(duration: Mapping[str, Any]) -> dict[str, Any]:
    span = _plain(duration)
    keys = {
        "rate": {
            "type": "string",
            "pattern": r"^([+-][0-9]+(\.[0-9]+)?%|[0-9]+(\.[0-9]+)?/(s|min|h))$",
            "description": "open model: relative to the steady rate (with a trace: to the trace's own), or absolute",
            "examples": ["+30%", "200/s"],
        },
        "concurrency": {
            "type": ["string", "integer"],
            "pattern": r"^([+-][0-9]+(\.[0-9]+)?%|[0-9]+)$",
            "minimum": 1,
            "description": "closed model: users at the same time, relative to the steady number, or absolute",
            "examples": ["+30%", 65],
        },
        "ramp": {**span, "description": "time in which the rate changes linearly, at the phase's start"},
        "sine": {
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?(%|/(s|min|h))$",
            "description": "how far the rate goes up and down around its own; a percentage is of the steady rate",
            "examples": ["30%", "40/s"],
        },
        "period": {**span, "description": "how long one up and down of the sine takes"},
        "trace": {
            "type": "string",
            "description": "a file of timestamps, or of lines with a time and a rate; relative to this file",
            "examples": ["traces/friday.csv"],
        },
        "from": {**span, "description": "where in the trace to begin; its beginning when absent"},
        "speed": {
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?%$",
            "description": "how fast to replay the trace; 200% takes half the time, at twice the rate",
            "examples": ["200%"],
        },
    }
    return {
        "type": "object",
        "description": f"a phase's name with its duration, and its load; the first phase is `{WARM_UP}`",
        "properties": {name: keys[name] for name in PHASE_KEYS},
        "additionalProperties": span,
        "minProperties": 1,
        "maxProperties": 1 + len(PHASE_KEYS),
        "dependentRequired": {"sine": ["period"], "period": ["sine"], "from": ["trace"], "speed": ["trace"]},
        "examples": [
            {"steady": "30s"},
            {"spike": "40s", "rate": "+30%", "ramp": "2s"},
            {"day": "60s", "sine": "30%", "period": "20s"},
            {"friday": "60s", "trace": "traces/friday.csv", "rate": "+30%"},
        ],
    }


def _fault_schema(duration: Mapping[str, Any], catalogue: Mapping[str, FaultType]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "a fault's name with where, when and how",
        "properties": {name: _one_fault(fault, duration) for name, fault in catalogue.items()},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _one_fault(fault: FaultType, duration: Mapping[str, Any]) -> dict[str, Any]:
    required = ["at", "for", *(name for name, param in fault.params.items() if param.required)]
    default = f"; default: {fault.default_place}" if fault.default_place else ""
    on = {"on": {**_on(fault), "description": f"the {fault.place} that is hit{default}"}}
    return {
        "type": "object",
        "description": fault.summary,
        "properties": {
            **({} if fault.place == "clients" else on),
            "at": _INSTANT,
            "for": {**_plain(duration), "description": "how long"},
            **{name: _param(param) for name, param in fault.params.items()},
        },
        "required": required if fault.default_place or fault.place == "clients" else ["on", *required],
        "additionalProperties": False,
    }


def _on(fault: FaultType) -> dict[str, Any]:
    one = {"type": "string"}
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [one, several]} if fault.many else one


def _param(param: Param) -> dict[str, Any]:
    schema = {**_PARAM_TYPES[param.kind], "description": param.help}
    return {**schema, "enum": list(param.choices)} if param.choices else schema


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}
