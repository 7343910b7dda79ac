"""The spools of an arm's load workers merged into its rows, in an order that depends on nothing but their content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import LoadError, RecordError
from harness.record.clocks import read_clock
from harness.record.samples import ArmSamples, check_samples
from harness.record.schema import ERRORS, SAMPLES
from harness.record.spool import ROW_DTYPE, read_spool

_ROW = np.dtype(ROW_DTYPE)


def merge_spools(arm: str, spool_paths: Sequence[Path]) -> pa.Table:
    """The rows of an arm as a table of the schema SAMPLES, numbered by (intended_ns, worker, local row).

    Rows of a worker with another clock are shifted to the conductor's; their durations stay what the worker measured.

    Raises:
        RecordError: a spool is missing or is none.
        LoadError: the rows contradict the rules of the record.
    """
    if not spool_paths:
        return SAMPLES.empty_table()
    spools = [_Rows(worker, path) for worker, path in enumerate(spool_paths)]
    names = tuple(sorted({name for spool in spools for name in spool.names}))
    columns = _concatenated([spool.columns(names) for spool in spools])
    order = np.lexsort((columns["local"], columns["worker"], columns["intended_ns"]))
    seq_of_row = np.empty(order.size, dtype=np.int64)
    seq_of_row[order] = np.arange(order.size)
    first_seq = seq_of_row[columns.pop("first_row")]
    del columns["local"]
    ordered = {name: values[order] for name, values in columns.items()}
    samples = ArmSamples(
        name=arm,
        seq=np.arange(order.size),
        first_seq=first_seq[order],
        endpoint_names=names,
        error_names=ERRORS,
        **ordered,
    )
    try:
        check_samples(samples, "the load workers' rows")
    except RecordError as error:
        raise LoadError(f"the load engine recorded something impossible: {error.message}") from error
    return samples_table(samples)


class _Rows:
    """One worker's spool; `first_row` of its columns counts the rows of all spools before it too."""

    def __init__(self, worker: int, path: Path) -> None:
        spool = read_spool(path)
        self.worker = worker
        self.names = spool.names
        self._path = path
        self._rows = np.frombuffer(spool.data, dtype=_ROW)
        self._clock = read_clock(path)

    def columns(self, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """The columns with endpoint codes that index `names`; `first_row` counts the rows of this spool."""
        rows = self._rows
        count = rows.size
        if not np.array_equal(rows["local"], np.arange(count)):
            raise LoadError(f"{self._path}: the rows are not numbered without gaps")
        if count and int(rows["first_local"].max()) >= count:
            raise LoadError(f"{self._path}: a retry refers to an arrival that is not there")
        if count and int(rows["endpoint"].max()) >= len(self.names):
            raise LoadError(f"{self._path}: a row refers to a request name that is not there")
        if count and int(rows["error"].max()) >= len(ERRORS):
            raise LoadError(f"{self._path}: a row has an error that is not among the error words")
        codes = np.array([names.index(name) for name in self.names] or [0], dtype=np.int32)
        shift_ns = self._shift_ns()
        return {
            **{name: rows[name] for name in ("attempt", "status", "bytes", "local")},
            **{name: rows[name] + shift_ns for name in ("intended_ns", "start_ns", "end_ns")},
            "worker": np.full(count, self.worker, dtype=np.int16),
            "endpoint": codes[rows["endpoint"]],
            "error": rows["error"].astype(np.int32),
            "first_row": rows["first_local"].astype(np.int64),
        }

    def _shift_ns(self) -> NDArray[np.int64] | int:
        """What brings each row to the conductor's clock; none to before the arm's start."""
        if self._clock is None:
            return 0
        intended_ns = self._rows["intended_ns"]
        at, shift = np.array(self._clock.shifts, dtype=np.int64).reshape(-1, 2).T
        if not at.size:
            raise LoadError(f"{self._path}: the worker's clock was never read, so its rows have no time")
        shifts = np.rint(np.interp(intended_ns, at, shift)).astype(np.int64)
        shifts_ns: NDArray[np.int64] = np.maximum(shifts, -intended_ns)
        return shifts_ns


def _concatenated(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    before = 0
    for part in parts:
        part["first_row"] += before
        before += part["local"].size
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def samples_table(samples: ArmSamples) -> pa.Table:
    """An arm's samples as a table of the schema SAMPLES."""
    words = {
        "arm": (np.zeros(len(samples), dtype=np.int32), (samples.name,)),
        "endpoint": (samples.endpoint, samples.endpoint_names),
        "error": (samples.error, samples.error_names),
    }
    numbers = samples.arrays()
    arrays = []
    for field in SAMPLES:
        if field.name in words:
            codes, names = words[field.name]
            arrays.append(pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, type=pa.string())))
        else:
            arrays.append(pa.array(numbers[field.name], type=field.type))
    return pa.Table.from_arrays(arrays, schema=SAMPLES)
