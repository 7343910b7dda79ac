"""Acknowledged writes: the keys of which clients were told that what they name is stored, beside a worker's spool.

`PATH.acked`, for the spool at PATH: one line of JSON for each acknowledgement, `[at_ns, "key"]`, in ns since the arm's
start. A line is with the operating system before the client does anything else, so a crash loses none. Only the
standard library is used: load workers import this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from harness.errors import RecordError
from harness.record.clocks import read_clock


def acknowledged_path(spool: Path) -> Path:
    """Where the acknowledged keys of the spool at `spool` are."""
    return spool.with_name(spool.name + ".acked")


class KeyWriter:
    """Appends keys to the file beside the spool at `spool`, which must not be there yet."""

    def __init__(self, spool: Path) -> None:
        self._path = acknowledged_path(spool)
        self._file = self._path.open("xb", buffering=0)

    def add(self, key: str, at_ns: int) -> None:
        """Write one key. Raises `RecordError` when the file system refuses to take more."""
        line = json.dumps([at_ns, key]).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            raise RecordError(f"acknowledged keys cannot be written to {self._path}: {error.strerror}") from error
        if written != len(line):
            raise RecordError(f"acknowledged keys cannot be written to {self._path}: the disk is full")


def read_acknowledged(spools: Iterable[Path]) -> dict[str, int]:
    """Every key that was acknowledged to the clients of some workers, and when first; by the conductor's clock.

    Raises `RecordError` when a file is missing or damaged.
    """
    found: dict[str, int] = {}
    for spool in spools:
        path = acknowledged_path(spool)
        clock = read_clock(spool)
        shifts = clock.shifts if clock else ()
        try:
            lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        except (OSError, ValueError) as error:
            raise RecordError(f"the acknowledged keys at {path} cannot be read: {error}") from error
        for worker_ns, key in lines:
            _, shift_ns = min(shifts, key=lambda one: abs(one[0] - worker_ns), default=(0, 0))
            at_ns = worker_ns + shift_ns
            found[key] = min(at_ns, found.get(key, at_ns))
    return found
