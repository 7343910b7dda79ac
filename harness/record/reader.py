"""A run record read back: checked, complete, in memory; everything that analysis and reports stand on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RecordError, nearest
from harness.paths import RunFolder
from harness.record.audit import AuditInfo, read_audit
from harness.record.columns import Columns, Words, read_columns
from harness.record.info import ArmInfo, RunInfo, read_info
from harness.record.integrity import verify
from harness.record.samples import ArmSamples, check_samples
from harness.record.schema import ERRORS, SAMPLE_COLUMNS, TELEMETRY_COLUMNS


@dataclass(frozen=True, slots=True)
class Event:
    """A line of events.jsonl; `t_ns` is since the arm's start, `arm` is "" for what belongs to no arm."""

    t_ns: int
    arm: str
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Every series of gauge readings, by (arm, component, metric); times in ns since the arm's start, ascending."""

    _series: Mapping[tuple[str, str, str], tuple[NDArray[np.int64], NDArray[np.float64]]]

    def series(self, arm: str, component: str, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times and values of one series; both empty when there is none."""
        return self._series.get((arm, component, metric), (np.empty(0, dtype=np.int64), np.empty(0)))

    def available(self) -> tuple[tuple[str, str, str], ...]:
        """The (arm, component, metric) of every series, sorted."""
        return tuple(sorted(self._series))


@dataclass(frozen=True, slots=True)
class Record:
    """A run record. `events` are in the file's order; `endpoint_names` are those of every arm's endpoint codes.

    `audit` is None where no acknowledged writes were looked up.
    """

    folder: RunFolder
    info: RunInfo
    events: tuple[Event, ...]
    telemetry: Telemetry
    endpoint_names: tuple[str, ...]
    _arms: Mapping[str, ArmSamples]
    audit: AuditInfo | None = None

    def arm(self, name: str) -> ArmSamples:
        """The samples of an arm (none, when it was begun and stopped before its first).

        Raises:
            RecordError: the record has no such arm.
        """
        if name not in self._arms:
            raise RecordError(f"{self.folder.run_json}: there is no arm `{name}`", remedy=nearest(name, self._arms))
        return self._arms[name]

    def arms_of(self, kind: str) -> tuple[str, ...]:
        """The names of the `baseline` or of the `fault` arms with the scenario's load, in the order they ran in."""
        return tuple(arm.name for arm in self.info.arms if arm.kind == kind and arm.load == "planned")


def read(folder: Path, *, integrity: bool = True) -> Record:
    """Read a run record and check it; `integrity=False` leaves out the digests, never the other checks.

    Raises:
        IntegrityError: a file does not match its digest in run.json, or has none.
        RecordError: a file is missing, damaged, incomplete, of a newer version, or contradicts itself.
    """
    paths = RunFolder(Path(folder))
    if not paths.root.is_dir():
        raise RecordError(
            f"{paths.root}: there is no such folder", remedy="name a folder that `harness run` made: results/<run-id>"
        )
    info = read_info(paths.run_json)
    if not info.arms:
        raise RecordError(
            f"{paths.run_json}: arms: the record is incomplete, the run was killed before it could be finished",
            remedy=f"`harness salvage {paths.root}` makes one of the rows so far",
        )
    if integrity:
        verify(paths, info)
    events = tuple(_read_events(paths.events))
    endpoint_names, arms = _read_samples(paths, info)
    return Record(
        paths,
        info,
        events,
        _read_telemetry(paths, info),
        endpoint_names,
        MappingProxyType(arms),
        audit=read_audit(paths.audit),
    )


def _read_events(path: Path) -> Iterator[Event]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise RecordError(f"{path}: the file is missing", remedy="fetch the whole record again") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _event(line, f"{path}:{number}")


def _event(line: bytes, where: str) -> Event:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{where}: the line is not JSON, it is truncated or damaged: {error}") from error
    if not isinstance(fields, dict):
        raise RecordError(f"{where}: a JSON object is expected, a {type(fields).__name__} was found")
    for field in ("t_ns", "kind"):
        if field not in fields:
            raise RecordError(f"{where}: {field}: the field is missing")
    t_ns, kind, arm = fields.pop("t_ns"), fields.pop("kind"), fields.pop("arm", None)
    if isinstance(t_ns, bool) or not isinstance(t_ns, int | float) or t_ns != t_ns // 1:
        raise RecordError(f"{where}: t_ns: a whole number of nanoseconds is expected, {t_ns!r} was found")
    if not isinstance(kind, str):
        raise RecordError(f"{where}: kind: a word is expected, {kind!r} was found")
    if not isinstance(arm, str | None):
        raise RecordError(f"{where}: arm: the name of an arm is expected, {arm!r} was found")
    return Event(int(t_ns), arm or "", kind, MappingProxyType(fields))


def _read_samples(paths: RunFolder, info: RunInfo) -> tuple[tuple[str, ...], dict[str, ArmSamples]]:
    columns = read_columns(paths.samples, SAMPLE_COLUMNS, nullable="error")
    arm_of_row = columns.words["arm"]
    for name in arm_of_row.names:
        if name not in {arm.name for arm in info.arms}:
            row = int(np.argmax(arm_of_row.codes == arm_of_row.names.index(name)))
            raise RecordError(
                f"{paths.samples}: arm `{name}`, column arm, row {row} of the file: not in run.json's arms"
            )
    errors = _error_codes(paths, columns)
    arms: dict[str, ArmSamples] = {}
    for arm in info.arms:
        samples = _select(arm.name, columns, errors, _rows_of(arm_of_row, arm.name))
        _check_count(paths, arm, samples)
        check_samples(samples, str(paths.samples))
        arms[arm.name] = samples
    return columns.words["endpoint"].names, arms


def _error_codes(paths: RunFolder, columns: Columns) -> NDArray[np.int32]:
    """The error column as codes into ERRORS."""
    error = columns.words["error"]
    for code, name in enumerate(error.names):
        if name not in ERRORS:
            row = int(np.argmax(error.codes == code))
            arm = columns.words["arm"]
            arm_name = arm.names[arm.codes[row]]
            row = int(np.count_nonzero(arm.codes[:row] == arm.codes[row]))
            raise RecordError(
                f"{paths.samples}: arm `{arm_name}`, column error, row {row}: `{name}` is not an error word",
                remedy=nearest(name, ERRORS[1:]),
            )
    codes = np.array([ERRORS.index(name) for name in error.names], dtype=np.int32)
    return codes[error.codes] if codes.size else error.codes


Rows = slice | NDArray[np.int64]


def _rows_of(arm: Words, name: str) -> Rows:
    """The rows of an arm: a slice when they lie together, as in every record of ours, so that nothing is copied."""
    if name not in arm.names:
        return slice(0, 0)
    rows = np.flatnonzero(arm.codes == arm.names.index(name))
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == rows.size else rows


def _select(name: str, columns: Columns, errors: NDArray[np.int32], rows: Rows) -> ArmSamples:
    endpoint = columns.words["endpoint"]
    arrays: dict[str, Any] = {column: values[rows] for column, values in columns.numbers.items()}
    arrays |= {"endpoint": endpoint.codes[rows], "error": errors[rows]}
    arrays = _in_order(arrays)
    for array in arrays.values():
        array.flags.writeable = False
    return ArmSamples(name=name, endpoint_names=endpoint.names, error_names=ERRORS, **arrays)


def _in_order(arrays: dict[str, Any]) -> dict[str, Any]:
    """The same rows by `seq`, counted from 0 (other programs may write them as they end, or count from 1)."""
    seq = arrays["seq"]
    if np.any(seq[1:] < seq[:-1]):
        order = np.argsort(seq, kind="stable")
        arrays = {column: values[order] for column, values in arrays.items()}
    if seq.size and arrays["seq"][0] == 1:
        arrays |= {"seq": arrays["seq"] - 1, "first_seq": arrays["first_seq"] - 1}
    return arrays


def _check_count(paths: RunFolder, arm: ArmInfo, samples: ArmSamples) -> None:
    if len(samples) != arm.rows:
        raise RecordError(
            f"{paths.samples}: arm `{arm.name}`: {len(samples)} rows, run.json says {arm.rows}",
            remedy="rows were lost or added after the run: fetch the record again",
        )


def _read_telemetry(paths: RunFolder, info: RunInfo) -> Telemetry:
    if not paths.telemetry.exists() and paths.telemetry.name not in info.files:
        return Telemetry(MappingProxyType({}))
    columns = read_columns(paths.telemetry, TELEMETRY_COLUMNS)
    keys = [columns.words[name] for name in ("arm", "component", "metric")]
    order = np.lexsort((columns.numbers["t_ns"], *(key.codes for key in reversed(keys))))
    t_ns, value = columns.numbers["t_ns"][order], columns.numbers["value"][order]
    codes = np.stack([key.codes[order] for key in keys])
    changes = np.flatnonzero(np.any(codes[:, 1:] != codes[:, :-1], axis=0)) + 1
    bounds = [0, *changes.tolist(), order.size] if order.size else []
    series = {}
    for start, stop in itertools.pairwise(bounds):
        arm, component, metric = (key.names[key_codes[start]] for key, key_codes in zip(keys, codes, strict=True))
        series[arm, component, metric] = t_ns[start:stop], value[start:stop]
    return Telemetry(MappingProxyType(series))
