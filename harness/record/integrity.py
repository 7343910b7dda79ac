"""Digests of a record's files: made when a run ends, held against the files before they are believed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import IntegrityError, RecordError
from harness.paths import RunFolder
from harness.record.info import FileInfo, RunInfo

_REMEDY = "fetch the record again, or go on without this check: --no-integrity"


def describe(path: Path) -> FileInfo:
    """SHA-256 and number of rows (of a Parquet file) or lines (of a .jsonl) of a file.

    Raises:
        RecordError: the file is damaged so that its rows cannot be counted.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileInfo(sha256=digest, rows=_count_rows(path))


def verify(folder: RunFolder, info: RunInfo) -> None:
    """Hold every file that run.json has a digest of against it; derived files may be rebuilt and are left out.

    Raises:
        IntegrityError: a digest is missing or does not match, or a number of rows differs.
        RecordError: a file is missing or cannot be read.
    """
    if not info.files:
        raise IntegrityError(
            f"{folder.run_json}: files: there are no digests: the run was killed before its record was finished, "
            "or the record was edited",
            remedy="run the scenario again, or go on without this check: --no-integrity",
        )
    derived = {path.name for path in (folder.verdict, folder.report, folder.junit, folder.summary)}
    optional = (folder.telemetry, folder.audit)
    for path in (folder.samples, folder.events, *optional):
        if path.name not in info.files and (path.exists() or path not in optional):
            raise IntegrityError(f"{folder.run_json}: files: there is no digest of {path.name}", remedy=_REMEDY)
    for name, expected in sorted(info.files.items()):
        if Path(name).name != name:
            raise RecordError(f"{folder.run_json}: files: `{name}` is not the name of a file in this folder")
        if name not in derived:
            _verify_file(folder.root / name, expected)


def _verify_file(path: Path, expected: FileInfo) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise RecordError(f"{path}: the file is missing", remedy="fetch the whole record again") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    if digest != expected.sha256.lower():
        raise IntegrityError(
            f"{path}: was changed or damaged after the run: SHA-256 is {digest}, run.json says {expected.sha256}",
            remedy=_REMEDY,
        )
    if expected.rows is not None and (rows := _count_rows(path)) is not None and rows != expected.rows:
        raise IntegrityError(f"{path}: has {rows} rows, run.json says {expected.rows}", remedy=_REMEDY)


def _count_rows(path: Path) -> int | None:
    """None for files that have no rows."""
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    if path.suffix != ".parquet":
        return None
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"{path}: is not a whole Parquet file: {error}", remedy="fetch the record again") from error
