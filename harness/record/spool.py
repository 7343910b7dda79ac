"""The spool: what a load worker writes while it runs, one fixed-width row per attempt; the truth after a crash.

Two files per worker and arm:

`PATH`        16 bytes of header (magic, row size), then rows of `ROW_SIZE` bytes, laid out as `ROW_DTYPE` says.
`PATH.names`  one JSON string per line; line i (from 0) is the request name that rows refer to as `endpoint` i.
              A name is on disk before the first row that refers to it.

With numpy a spool is read as

    spool = read_spool(path)
    rows = np.frombuffer(spool.data, dtype=np.dtype(ROW_DTYPE))
    endpoint_names, error_names = spool.names, ERROR_WORDS

Times are nanoseconds since the arm's start. `local` counts the rows of this worker from 0 without gaps, in file
order; `first_local` is the `local` of the same arrival's attempt 0 (equal to `local` there), which always comes
earlier in the same file. Only the standard library is used: load workers import this module.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from harness.errors import RecordError

ERROR_WORDS: Final = (
    "",
    "timeout",
    "connect",
    "reset",
    "protocol",
    "http_4xx",
    "http_5xx",
    "check",
    "dropped",
    "aborted",
)
"""The closed list of error words; a row holds the index into it, 0 meaning no error."""

ROW_DTYPE: Final[list[tuple[str, str]]] = [
    ("local", "<u4"),
    ("first_local", "<u4"),
    ("intended_ns", "<i8"),
    ("start_ns", "<i8"),
    ("end_ns", "<i8"),
    ("bytes", "<i4"),
    ("endpoint", "<u4"),
    ("attempt", "<i2"),
    ("status", "<i2"),
    ("error", "<u4"),
]
"""The row as a numpy dtype description: `np.dtype(ROW_DTYPE).itemsize == ROW_SIZE`, no padding."""

_ROW = struct.Struct("<IIqqqiIhhI")
ROW_SIZE: Final = _ROW.size
HEADER_SIZE: Final = 16
_MAGIC: Final = b"loadspl1"
_HEADER: Final = _MAGIC + struct.pack("<II", ROW_SIZE, 0)
_CODES: Final = {word: code for code, word in enumerate(ERROR_WORDS)}
_MAX_BYTES: Final = 2**31 - 1


def names_path(path: Path) -> Path:
    """Where the request names of the spool at `path` are."""
    return path.with_name(path.name + ".names")


@dataclass(frozen=True, slots=True)
class Spool:
    """A spool that was read: `data` is `rows * ROW_SIZE` bytes, `names` the request names by index.

    `torn_bytes` is the length of an incomplete last row (the worker died while writing it), which is left out.
    """

    data: memoryview
    names: tuple[str, ...]
    rows: int
    torn_bytes: int


def read_spool(path: Path) -> Spool:
    """Read a spool, finished or not; an incomplete last row or last name is left out.

    A file that was cut within its header has no rows. Raises `RecordError` when the file is missing or is not a spool.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read the load worker's rows at {path}: {error.strerror}") from error
    if not _HEADER.startswith(content[:HEADER_SIZE]):
        raise RecordError(f"{path} is not a spool of load rows, or one of another version")
    rows, torn = divmod(max(0, len(content) - HEADER_SIZE), ROW_SIZE)
    data = memoryview(content)[HEADER_SIZE : HEADER_SIZE + rows * ROW_SIZE]
    return Spool(data, _read_names(names_path(path)), rows, torn)


def count_rows(path: Path) -> int:
    """How many whole rows the spool at `path` holds, by its size alone; 0 when there is none."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    return max(0, size - HEADER_SIZE) // ROW_SIZE


class RowWriter:
    """Appends rows to a new spool at `path`; they are buffered in memory until `flush`.

    Raises `FileExistsError` when there is a spool already: rows are never overwritten. Every method raises
    `RecordError` when the file system refuses to take more; what was written before is whole, and nothing is written
    after it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._names_file: BinaryIO = names_path(path).open("xb", buffering=0)
        self._pending = bytearray()
        self._endpoints: dict[str, int] = {}
        self._failure: RecordError | None = None
        self._write(self._file, _HEADER)

    def add(
        self,
        attempt: int,
        first_local: int,
        local: int,
        endpoint: str,
        intended_ns: int,
        start_ns: int,
        end_ns: int,
        status: int,
        error: str,
        nbytes: int,
    ) -> None:
        """Add one row. Raises `KeyError` for an error word that is not in `ERROR_WORDS`."""
        index = self._endpoints.get(endpoint)
        if index is None:
            index = self._add_name(endpoint)
        self._pending += _ROW.pack(
            local,
            first_local,
            intended_ns,
            start_ns,
            end_ns,
            nbytes if nbytes < _MAX_BYTES else _MAX_BYTES,
            index,
            attempt,
            status,
            _CODES[error],
        )

    def flush(self) -> None:
        """Hand everything added so far to the operating system."""
        pending = self._pending
        if pending or self._failure is not None:
            self._pending = bytearray()
            self._write(self._file, pending)

    def close(self) -> None:
        """Flush, and close both files; may be called twice."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()
                self._names_file.close()

    def _add_name(self, endpoint: str) -> int:
        index = self._endpoints[endpoint] = len(self._endpoints)
        self._write(self._names_file, json.dumps(endpoint).encode() + b"\n")
        return index

    def _write(self, file: BinaryIO, data: bytes | bytearray) -> None:
        # Nothing may follow a row that was cut off: it could not be read.
        if self._failure is not None:
            raise self._failure
        view = memoryview(data)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            self._failure = RecordError(
                f"rows cannot be written to {self._path}: {error.strerror}",
                remedy="free some space on that disk, or choose a folder on another one",
            )
            raise self._failure from error


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise RecordError(f"cannot read the request names at {path}: {error.strerror}") from error
    return tuple(json.loads(line) for line in lines)
