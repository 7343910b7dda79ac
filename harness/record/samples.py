"""The samples of one arm, and what must be true of them whoever wrote them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RecordError


@dataclass(frozen=True, slots=True)
class ArmSamples:
    """The attempts of one arm, one array each, in the order of `seq` (which is 0, 1, 2, ...), read-only.

    `endpoint` and `error` hold codes: indices into `endpoint_names` (the same for every arm of a record) and
    `error_names` (always `harness.record.schema.ERRORS`). Times are ns since the arm's start.
    """

    name: str
    worker: NDArray[np.int16]
    seq: NDArray[np.int64]
    attempt: NDArray[np.int16]
    first_seq: NDArray[np.int64]
    endpoint: NDArray[np.int32]
    endpoint_names: tuple[str, ...]
    intended_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    status: NDArray[np.int16]
    error: NDArray[np.int32]
    error_names: tuple[str, ...]
    bytes: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.seq.size)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by the name of their column."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}


def check_samples(samples: ArmSamples, source: str) -> None:
    """Hold an arm's rows against the rules of the record; `source` is named in errors.

    Raises:
        RecordError: naming the arm, the column and the first bad row.
    """
    refuse = _Refusal(source, samples.name)
    expected = np.arange(len(samples))
    refuse.where("seq", samples.seq != expected, "the rows must be numbered 0, 1, 2, ... without gaps, found", samples)
    for column in ("worker", "attempt", "intended_ns", "start_ns", "status", "bytes"):
        refuse.where(column, getattr(samples, column) < 0, "must not be negative, found", samples)
    refuse.where("end_ns", samples.end_ns < samples.start_ns, "the attempt ends before its start_ns:", samples)
    refuse.where("end_ns", samples.end_ns < samples.intended_ns, "the attempt ends before its intended_ns:", samples)
    outside = (samples.first_seq < 0) | (samples.first_seq > samples.seq)
    refuse.where("first_seq", outside, "must be the seq of this row or an earlier one, found", samples)
    own = samples.first_seq == samples.seq
    refuse.where("first_seq", ~own & (samples.attempt == 0), "attempt 0 must refer to itself, found", samples)
    refuse.where(
        "first_seq", samples.attempt[samples.first_seq] != 0, "refers to a row that is not an attempt 0:", samples
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    source: str
    arm: str

    def where(self, column: str, bad: NDArray[np.bool_], rule: str, samples: Any) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = getattr(samples, column)[row]
            raise RecordError(f"{self.source}: arm `{self.arm}`, column {column}, row {row}: {rule} {value}")
