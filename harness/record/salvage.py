"""Makes a record of what a run left that could not finish its own: the spools of its load workers, and its events.

A run whose conductor was killed, or whose disk was full, keeps what every load worker has written in `spool/`, beside
it when each arm began, and the events so far. What was only in memory is lost: requests that were in flight, and the
telemetry of the arm that was under way. So a salvaged record is always invalid, and says why.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness import ledger
from harness.clock import seconds
from harness.errors import RecordError
from harness.paths import RunFolder
from harness.record.audit import read_audit
from harness.record.clocks import read_clock
from harness.record.info import WorkerClockInfo, read_info
from harness.record.schema import EVENT_KINDS, TELEMETRY_COLUMNS
from harness.record.spool import ROW_DTYPE, RowWriter, read_spool
from harness.record.writer import UNFINISHED, ArmStart, RecordWriter

REASON: Final = "the run could not finish its record: it was salvaged from what its load workers had written"
_DERIVED: Final = ("arms", "validity", "files", "schema_version")


def salvage(folder: RunFolder) -> dict[str, int]:
    """Rebuild the record in `folder` from its spools; returns the number of rows per arm. It may be done again.

    Raises:
        RecordError: there is no run, it is still going on, its record is finished, or nothing is in its spools.
        LoadError: the spools contradict the rules of the record.
        HarnessError: the folder cannot be written to.
    """
    info = read_info(folder.run_json)
    if info.validity.valid:
        raise RecordError(f"{folder.root}: the record is finished and valid: there is nothing to salvage")
    _refuse_live(folder)
    arms = _arms(folder)
    events = list(_events(folder.events))
    document = json.loads(folder.run_json.read_text(encoding="utf-8"))
    work = RunFolder(folder.root / "salvage.tmp")
    shutil.rmtree(work.root, ignore_errors=True)
    try:
        writer = RecordWriter(work, {name: value for name, value in document.items() if name not in _DERIVED})
        for event in events:
            writer.event(**event)
        for row in _telemetry(folder.telemetry):
            writer.reading(**row)
        if audit := read_audit(folder.audit):
            for arm, found in audit.arms.items():
                writer.audit(audit.endpoint, audit.key, arm, found)
        rows = {arm.name: writer.add_samples(arm.name, _spools(folder, arm.name)) for arm in arms}
        reasons = [reason for reason in info.validity.reasons if reason not in (UNFINISHED, REASON)]
        writer.close([*reasons, REASON], [_as_far_as_it_got(arm, folder, events) for arm in arms])
        for name in ("samples", "telemetry", "events", "audit", "run_json"):
            if getattr(work, name).exists():
                getattr(work, name).replace(getattr(folder, name))
    finally:
        shutil.rmtree(work.root, ignore_errors=True)
    return rows


def _refuse_live(folder: RunFolder) -> None:
    if not folder.ledger.exists():
        return
    state = ledger.read(folder.ledger)
    if any(mark is not None and mark.find() for mark in (state.conductor, state.guard)):
        raise RecordError(f"{folder.root}: the run is still going on", remedy="wait for its end, or end it")


def _arms(folder: RunFolder) -> list[ArmStart]:
    """The arms that were begun, in order."""
    starts = []
    for path in folder.spool.glob("*.json"):
        if path.name.endswith(".spec.json"):
            continue
        try:
            starts.append(ArmStart.from_json(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RecordError(f"{path}: does not say when an arm began: {error}") from error
    if not starts:
        raise RecordError(
            f"{folder.spool}: no arm was begun, or its rows are in the record already: there is nothing to salvage"
        )
    return sorted(starts, key=lambda arm: arm.start_monotonic_ns)


def _spools(folder: RunFolder, arm: str) -> list[Path]:
    """The spools of an arm's workers, in their order; one that is missing in between is made, without rows."""
    pattern = re.compile(re.escape(arm) + r"-(\d+)\.rows")
    numbers = [int(match[1]) for path in folder.spool.iterdir() if (match := pattern.fullmatch(path.name))]
    paths = [folder.spool / f"{arm}-{number}.rows" for number in range(max(numbers, default=-1) + 1)]
    for path in paths:
        if not path.exists():
            RowWriter(path).close()
    return paths


def _as_far_as_it_got(arm: ArmStart, folder: RunFolder, events: Sequence[dict[str, Any]]) -> ArmStart:
    """With the duration up to the last thing that is known to have happened in it, and its workers' clocks."""
    ends = [event["t_ns"] for event in events if event.get("arm") == arm.name]
    clocks = []
    for worker, path in enumerate(_spools(folder, arm.name), 1):
        if clock := read_clock(path):
            clocks.append(WorkerClockInfo.of(f"load-worker-{worker}", clock.summary))
        rows = np.frombuffer(read_spool(path).data, dtype=np.dtype(ROW_DTYPE))
        ends.append(int(rows["end_ns"].max(initial=0)))
    reached_s = seconds(max(ends, default=0))
    return replace(arm, duration_s=max(0.001, min(arm.duration_s, reached_s)), worker_clocks=tuple(clocks))


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines only: the last one may be torn."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("kind") in EVENT_KINDS and isinstance(event.get("t_ns"), int):
            yield event


def _telemetry(path: Path) -> Iterator[dict[str, Any]]:
    """What is left of the telemetry: all of it, when its file was finished, else none."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return
    names = [column.name for column in TELEMETRY_COLUMNS]
    for values in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        yield dict(zip(names, values, strict=True))
