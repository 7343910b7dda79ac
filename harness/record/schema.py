"""What a run record holds: the columns, their types and meaning, the closed lists of words, the JSON Schemas.

`SCHEMA_VERSION` is the major version of the record: it changes when an old reader would misread a new record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harness.record.audit import AuditInfo
from harness.record.info import SCHEMA_VERSION, ArmInfo, FaultInfo, PhaseInfo, RunInfo
from harness.record.spool import ERROR_WORDS

__all__ = [
    "ERRORS",
    "EVENT_KINDS",
    "SAMPLES",
    "SAMPLE_COLUMNS",
    "SCHEMA_VERSION",
    "TELEMETRY",
    "TELEMETRY_COLUMNS",
    "ArmInfo",
    "Column",
    "FaultInfo",
    "PhaseInfo",
    "RunInfo",
    "json_schema",
]

EVENT_KINDS: tuple[str, ...] = (
    "phase.start",
    "phase.end",
    "fault.requested",
    "fault.active",
    "fault.clear-requested",
    "fault.clear",
    "probe",
    "abort",
    "component.started",
    "component.stopped",
    "note",
)

ERRORS: tuple[str, ...] = ERROR_WORDS
"""The closed list of error words; the first, empty one means that the attempt succeeded."""

_WORD = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Parquet file: its name, its Arrow type and what its values mean."""

    name: str
    type: pa.DataType
    meaning: str

    @property
    def is_word(self) -> bool:
        """Whether the column holds words (dictionary<string>)."""
        return bool(pa.types.is_dictionary(self.type))


SAMPLE_COLUMNS: tuple[Column, ...] = (
    Column("arm", _WORD, "the arm: `baseline-1`, `fault-1`, ..."),
    Column("worker", pa.int16(), "the load worker that sent it"),
    Column("seq", pa.int64(), "row number in this arm, from 0, without gaps, retries included"),
    Column("attempt", pa.int16(), "0 for the arrival itself, 1, 2, ... for the client's retries of it"),
    Column("first_seq", pa.int64(), "`seq` of attempt 0; equal to `seq` there"),
    Column("endpoint", _WORD, "the request's name"),
    Column("intended_ns", pa.int64(), "when it should have started, in ns since the arm's start"),
    Column("start_ns", pa.int64(), "when it started, in ns since the arm's start"),
    Column("end_ns", pa.int64(), "when it ended, in ns since the arm's start; minus intended_ns = response time"),
    Column("status", pa.int16(), "HTTP status, 0 when no response came"),
    Column("error", _WORD, "empty, or one of: " + ", ".join(ERRORS[1:])),
    Column("bytes", pa.int32(), "body length"),
)

TELEMETRY_COLUMNS: tuple[Column, ...] = (
    Column("arm", _WORD, "the arm"),
    Column("t_ns", pa.int64(), "when it was read, in ns since the arm's start"),
    Column("component", _WORD, "`app-1`, `postgres`, `redis`, `proxy:redis`, `load-worker-0`, ..."),
    Column("metric", _WORD, "the gauge's or counter's name"),
    Column("value", pa.float64(), "the reading"),
)


def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])


SAMPLES = _schema(SAMPLE_COLUMNS)
"""Arrow schema of samples.parquet: one row per attempt."""

TELEMETRY = _schema(TELEMETRY_COLUMNS)
"""Arrow schema of telemetry.parquet: one row per reading."""


def json_schema() -> dict[str, Any]:
    """The record's files described for a machine: JSON Schemas of run.json and of a line of events.jsonl, and columns.

    The Parquet files are lists of `{"name", "type", "meaning"}` with Arrow type names.
    """
    return {
        "run.json": RunInfo.model_json_schema(),
        "events.jsonl": _event_schema(),
        "audit.json": AuditInfo.model_json_schema(),
        "samples.parquet": _described(SAMPLE_COLUMNS),
        "telemetry.parquet": _described(TELEMETRY_COLUMNS),
    }


def _event_schema() -> dict[str, Any]:
    return {
        "title": "One line of events.jsonl",
        "type": "object",
        "required": ["t_ns", "kind"],
        "properties": {
            "t_ns": {"type": "integer", "description": "ns since the arm's start; may be negative before it"},
            "arm": {"type": "string", "description": "the arm; empty for what belongs to no arm"},
            "kind": {"enum": list(EVENT_KINDS)},
            "phase": {"type": "string", "description": "the phase's name, in phase.start and phase.end"},
            "fault": {"type": "string", "description": "the planned fault's id, in fault.* events"},
            "component": {"type": "string", "description": "what the event is about"},
            "edge": {"type": "string", "description": "`source->destination` of a network fault, else empty"},
            "late_ms": {
                "type": "number",
                "description": "fault.requested: how long after its planned instant it began",
            },
            "after_ms": {
                "type": "number",
                "description": "fault.active: since fault.requested; fault.clear: since fault.clear-requested",
            },
        },
        "additionalProperties": True,
    }


def _described(columns: tuple[Column, ...]) -> list[dict[str, str]]:
    return [
        {
            "name": column.name,
            "type": "dictionary<string>" if column.is_word else str(column.type),
            "meaning": column.meaning,
        }
        for column in columns
    ]
