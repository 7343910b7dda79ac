"""Parquet columns as numpy arrays of the record's own types, whatever lossless types another program wrote them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.errors import RecordError
from harness.record.schema import Column


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words: `codes[i]` is the index into `names` of row i. `names` are sorted, each is used."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file: `numbers` in the schema's types, `words` as codes and names; all `rows` long."""

    rows: int
    numbers: Mapping[str, NDArray[Any]]
    words: Mapping[str, Words]


def read_columns(path: Path, columns: Iterable[Column], *, nullable: str = "") -> Columns:
    """The named columns of a Parquet file; others are ignored. Empty cells are refused, but for words in `nullable`.

    Read one column at a time, so that little more than the result is ever in memory.

    Raises:
        RecordError: the file is missing or damaged, a column is missing, or a value does not fit its column's type.
    """
    wanted = tuple(columns)
    try:
        _refuse_missing(path, wanted)
        with pq.ParquetFile(path, read_dictionary=[column.name for column in wanted if column.is_word]) as file:
            rows = int(file.metadata.num_rows)
            numbers: dict[str, NDArray[Any]] = {}
            words: dict[str, Words] = {}
            for column in wanted:
                values = file.read(columns=[column.name]).column(0)
                if len(values) != rows:
                    raise RecordError(f"{path}: column {column.name}: {len(values)} values in a file of {rows} rows")
                if column.is_word:
                    words[column.name] = _words(path, column, values, null_is_empty=column.name == nullable)
                else:
                    numbers[column.name] = _numbers(path, column, values)
                del values
                # Arrow keeps what it needed for decoding, about half as much again as the result.
                pa.default_memory_pool().release_unused()
            return Columns(rows, numbers, words)
    except FileNotFoundError:
        raise RecordError(f"{path}: the file is missing", remedy="fetch the whole record again") from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise RecordError(
            f"{path}: cannot be read as Parquet, it is truncated or damaged: {error}", remedy="fetch the record again"
        ) from error


def _refuse_missing(path: Path, wanted: tuple[Column, ...]) -> None:
    present = set(pq.read_schema(path).names)
    for column in wanted:
        if column.name not in present:
            raise RecordError(
                f"{path}: the column {column.name} is missing", remedy="`harness schema --record` lists the columns"
            )


def _numbers(path: Path, column: Column, values: pa.ChunkedArray) -> NDArray[Any]:
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise RecordError(f"{path}: column {column.name}: {column.type} is expected, {values.type} was found")
    if pa.types.is_integer(column.type):
        _refuse_nulls(path, column, values)
    if values.type != column.type:
        try:
            values = values.cast(column.type, safe=True)
        except pa.ArrowInvalid as error:
            raise RecordError(
                f"{path}: column {column.name}: {values.type} does not fit {column.type} without loss: {error}"
            ) from error
    array = values.to_numpy()
    array.flags.writeable = False
    return array  # type: ignore[no-any-return]


def _words(path: Path, column: Column, values: pa.ChunkedArray, *, null_is_empty: bool) -> Words:
    value_type = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (pa.types.is_string(value_type) or pa.types.is_large_string(value_type) or pa.types.is_null(value_type)):
        raise RecordError(f"{path}: column {column.name}: text is expected, {values.type} was found")
    if null_is_empty:
        values = _filled(values)
    _refuse_nulls(path, column, values)
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    if len(values) == 0:
        return Words(np.empty(0, dtype=np.int32), ())
    whole = values.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    codes = whole.indices.to_numpy(zero_copy_only=False)
    given = whole.dictionary.to_pylist()
    if codes.min() < 0 or codes.max() >= len(given):
        raise RecordError(f"{path}: column {column.name}: the file is damaged: a cell refers to a word it lacks")
    used = np.zeros(len(given), dtype=bool)
    used[codes] = True
    names = sorted({name for name, is_used in zip(given, used, strict=True) if is_used})
    code_of = {name: code for code, name in enumerate(names)}
    recoded = np.array([code_of.get(name, -1) for name in given], dtype=np.int32)[codes]
    recoded.flags.writeable = False
    return Words(recoded, tuple(names))


def _filled(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Empty cells as empty words."""
    if values.null_count == 0:
        return values
    return pc.fill_null(values.cast(pa.string()), "")


def _refuse_nulls(path: Path, column: Column, values: pa.ChunkedArray) -> None:
    if values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise RecordError(f"{path}: column {column.name}, row {row}: the cell is empty")
