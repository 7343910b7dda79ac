"""Writes a run record while the run goes on: events at once, samples and telemetry as each arm ends, run.json last.

Until `close` run.json has no arms and no digests, which is how a reader knows a run that was killed.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DiskError, HarnessError
from harness.paths import RunFolder
from harness.record.audit import ArmAudit, AuditInfo
from harness.record.info import SCHEMA_VERSION, WorkerClockInfo, parse_info
from harness.record.integrity import describe
from harness.record.merge import merge_spools, samples_table
from harness.record.samples import ArmSamples
from harness.record.schema import EVENT_KINDS, SAMPLE_COLUMNS, SAMPLES, TELEMETRY, TELEMETRY_COLUMNS, Column

UNFINISHED = "the run was not finished"
"""The only reason against the validity of a record that is still being written."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ROWS_PER_GROUP = 1 << 20


@dataclass(frozen=True, slots=True)
class ArmStart:
    """An arm that was begun: when (UTC as ISO 8601, and CLOCK_MONOTONIC), and how long it lasts or lasted.

    `invalid`: why it says nothing about the system, if anything. `load`: see `plan.Arm`.
    """

    name: str
    kind: Literal["baseline", "fault"]
    pair: int
    start_utc: str
    start_monotonic_ns: int
    duration_s: float
    invalid: tuple[str, ...] = ()
    load: Literal["planned", "expected"] = "planned"
    worker_clocks: tuple[WorkerClockInfo, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data; `from_json` reads it back."""
        data = asdict(self)
        del data["worker_clocks"]
        clocks = [clock.model_dump() for clock in self.worker_clocks]
        return {**data, "worker_clocks": clocks} if clocks else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ArmStart:
        """The inverse of `to_json`."""
        clocks = tuple(WorkerClockInfo(**clock) for clock in data.get("worker_clocks", ()))
        return cls(**{**data, "invalid": tuple(data["invalid"]), "worker_clocks": clocks})


class RecordWriter:
    """The record of one run. `event` and `reading` may be called from any thread, the rest from one.

    `info` is run.json without `schema_version`, `arms`, `validity` and `files`: at least `run_id`, `scenario`,
    `scenario_sha256`, `phases` and `target`, JSON-ready.

    Raises:
        RecordError: `info` lacks a field.
        HarnessError: the folder holds a record already, or cannot be written to (here and in every method).
    """

    def __init__(self, folder: RunFolder, info: Mapping[str, Any]) -> None:
        self._folder = folder
        self._info = dict(info)
        self._rows: dict[str, int] = {}
        self._audits: dict[str, ArmAudit] = {}
        self._readings: dict[str, list[tuple[str, str, int, float]]] = {}
        self._events_lock = threading.Lock()
        self._readings_lock = threading.Lock()
        self._closed = False
        unfinished = self._document(arms=[], reasons=[UNFINISHED], files={})
        parse_info(unfinished, folder.run_json)
        with _explained(folder):
            folder.root.mkdir(parents=True, exist_ok=True)
            self._events: BinaryIO = folder.events.open("xb")
            _write_atomically(folder.run_json, unfinished)
            self._samples = _parquet(folder.samples, SAMPLES, SAMPLE_COLUMNS)
            self._telemetry = _parquet(folder.telemetry, TELEMETRY, TELEMETRY_COLUMNS)

    def begin(self, arm: ArmStart) -> None:
        """Note beside the spools that an arm begins, for `salvage` in case that this process does not get further."""
        with _explained(self._folder):
            self._folder.spool.mkdir(exist_ok=True)
            _write_atomically(self._folder.arm_start(arm.name), arm.to_json())

    def event(self, kind: str, *, arm: str = "", t_ns: int, **fields: Any) -> None:
        """Append a line to events.jsonl and hand it to the operating system at once; `fields` are JSON-ready.

        Raises:
            ValueError: `kind` is not among EVENT_KINDS.
        """
        if kind not in EVENT_KINDS:
            raise ValueError(f"`{kind}` is not a kind of event: {', '.join(EVENT_KINDS)}")
        line = json.dumps({"t_ns": t_ns, "arm": arm, "kind": kind, **fields}, ensure_ascii=False, allow_nan=False)
        with self._events_lock, _explained(self._folder):
            self._events.write(line.encode() + b"\n")
            self._events.flush()

    def reading(self, arm: str, t_ns: int, component: str, metric: str, value: float) -> None:
        """Keep a gauge reading until its arm ends."""
        with self._readings_lock:
            self._readings.setdefault(arm, []).append((component, metric, t_ns, value))

    def add_samples(self, arm: str, spool_paths: Sequence[Path]) -> int:
        """Write the rows of an arm that has ended from its workers' spools (the n-th is worker n's); returns how many.

        The arm's telemetry so far is written with them.

        Raises:
            RecordError: a spool is missing or is none.
            LoadError: the spools contradict the rules of the record; nothing of the arm is written.
        """
        return self._add(arm, merge_spools(arm, spool_paths))

    def audit(self, endpoint: str, key: str, arm: str, found: ArmAudit) -> None:
        """Add what became of an arm's acknowledged writes to audit.json; `endpoint` and `key` as there."""
        self._audits[arm] = found
        with _explained(self._folder):
            _write_atomically(self._folder.audit, AuditInfo(endpoint=endpoint, key=key, arms=self._audits).model_dump())

    def add_arm(self, samples: ArmSamples) -> int:
        """Write the rows of an arm that are in memory; else as `add_samples`."""
        return self._add(samples.name, samples_table(samples))

    def _add(self, arm: str, table: pa.Table) -> int:
        if arm in self._rows:
            raise ValueError(f"the samples of `{arm}` were added before")
        # Counted before it is written: an interrupt is raised when the write has returned, with the rows in the file.
        self._rows[arm] = table.num_rows
        with _explained(self._folder):
            self._samples.write_table(table, row_group_size=_ROWS_PER_GROUP)
        self._write_readings(arm)
        return int(table.num_rows)

    def close(self, validity_reasons: Sequence[str] = (), arms: Sequence[ArmStart] = ()) -> None:
        """Finish the files and write run.json with their digests; a second call does nothing.

        `arms` are those that were begun, in order; one without samples has 0 rows, one never begun is absent.
        The run is valid when there are no `validity_reasons` against it.
        """
        if self._closed:
            return
        if unknown := sorted(set(self._rows) - {arm.name for arm in arms}):
            raise ValueError(f"samples were added of `{unknown[0]}`, which is not among the arms")
        for arm_name in sorted(self._readings):
            self._write_readings(arm_name)
        self._closed = True
        with _explained(self._folder):
            self._samples.close()
            self._telemetry.close()
            with self._events_lock:
                self._events.close()
            paths = [self._folder.samples, self._folder.telemetry, self._folder.events]
            paths += [self._folder.audit] if self._folder.audit.exists() else []
            for path in paths:
                _sync(path)
            _write_atomically(
                self._folder.run_json,
                self._document(
                    arms=[{**arm.to_json(), "rows": self._rows.get(arm.name, 0)} for arm in arms],
                    reasons=list(validity_reasons),
                    files={path.name: describe(path).model_dump() for path in paths},
                ),
            )

    def _document(self, arms: list[dict[str, Any]], reasons: list[str], files: dict[str, Any]) -> dict[str, Any]:
        validity = {"valid": not reasons, "reasons": reasons}
        return {"schema_version": SCHEMA_VERSION, **self._info, "arms": arms, "validity": validity, "files": files}

    def _write_readings(self, arm: str) -> None:
        with self._readings_lock:
            readings = sorted(self._readings.pop(arm, []))
        if not readings:
            return
        component, metric, t_ns, value = zip(*readings, strict=True)
        columns = {"arm": [arm] * len(readings), "t_ns": t_ns, "component": component, "metric": metric, "value": value}
        arrays = [pa.array(columns[field.name], type=field.type) for field in TELEMETRY]
        with _explained(self._folder):
            self._telemetry.write_table(pa.Table.from_arrays(arrays, schema=TELEMETRY))


def _parquet(path: Path, schema: pa.Schema, columns: tuple[Column, ...]) -> pq.ParquetWriter:
    """Words and small numbers through dictionaries, 64-bit times and counters as differences."""
    wide = [column.name for column in columns if pa.types.is_int64(column.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[column.name for column in columns if column.name not in wide],
        column_encoding=dict.fromkeys(wide, "DELTA_BINARY_PACKED"),
    )


def _write_atomically(path: Path, document: Mapping[str, Any]) -> None:
    """The file is either the old one or the whole new one, also after a crash of the machine."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(folder: RunFolder) -> Iterator[None]:
    """Turns what the file system refuses into an error that says what to do."""
    try:
        yield
    except FileExistsError as error:
        raise HarnessError(
            f"{folder.root}: holds a run record already", remedy="records are never overwritten: choose another --out"
        ) from error
    except pa.ArrowInvalid as error:
        raise DiskError(
            f"{folder.root}: the run record cannot be written on after an earlier write has failed: {error}"
        ) from error
    except OSError as error:
        full = error.errno in _FULL
        raise DiskError(
            f"{folder.root}: the run record cannot be written: {error.strerror or error}",
            remedy="free some space on that disk, or choose a folder on another one with --out"
            if full
            else "choose a folder that can be written to with --out",
        ) from error
