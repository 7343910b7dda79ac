"""What the user felt: attempts joined to arrivals, of which the last attempt decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS
from harness.units import UnitError, parse_duration

if TYPE_CHECKING:
    from harness.record.samples import ArmSamples

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The arrivals of one arm whose outcome is known, in no particular order; arrays of one length.

    `endpoint` indexes `endpoint_names`. `intended_ns`: when attempt 0 was due. `response_ns`: from then to the end of
    the last attempt. `failed`: the last attempt's outcome. `felt_ns`: the response time, for a failed arrival the
    client's timeout at least. `attempts`: how many were sent. `error` indexes `error_names`.
    `censored`: arrivals that are left out because they were still in flight at the end and younger than the timeout.
    """

    endpoint: Codes
    endpoint_names: tuple[str, ...]
    intended_ns: Ints
    response_ns: Ints
    felt_ns: Ints
    failed: Bools
    attempts: Codes
    error: Codes
    error_names: tuple[str, ...]
    censored: int

    def only(self, chosen: Bools | NDArray[np.intp]) -> Arrivals:
        """The arrivals that are `chosen`, by mask or by index."""
        return Arrivals(
            self.endpoint[chosen],
            self.endpoint_names,
            self.intended_ns[chosen],
            self.response_ns[chosen],
            self.felt_ns[chosen],
            self.failed[chosen],
            self.attempts[chosen],
            self.error[chosen],
            self.error_names,
            self.censored,
        )

    def by_endpoint(self) -> Iterator[tuple[str, Arrivals]]:
        """The arrivals of each endpoint that has any, in alphabetical order; one at a time, to hold one copy only."""
        names = sorted(set(self.endpoint_names))
        ranks = np.array([names.index(name) for name in self.endpoint_names], dtype=np.int32)
        rank = ranks[self.endpoint]
        order = np.argsort(rank, kind="stable")
        bounds = np.searchsorted(rank[order], np.arange(len(names) + 1)).tolist()
        for name, (start, stop) in zip(names, itertools.pairwise(bounds), strict=True):
            if stop > start:
                yield name, self.only(order[start:stop])


def join_attempts(samples: ArmSamples, timeout_ns: int | None) -> Arrivals:
    """The arrivals of an arm's rows, whatever the order of the rows.

    `aborted` (still in flight at the end) is a failure when the arrival is older than the client's timeout; younger
    ones, and all of them when no timeout is known, are censored. `dropped` is a failure and no attempt.
    """
    order = np.lexsort((samples.attempt, samples.first_seq))
    chain = samples.first_seq[order]
    begins = np.flatnonzero(np.concatenate(([True], chain[1:] != chain[:-1]))) if len(chain) else np.zeros(0, np.int64)
    ends = np.concatenate((begins[1:], [len(chain)])) if len(chain) else begins
    first, last = order[begins], order[ends - 1]

    names = tuple(str(name) for name in samples.error_names)
    error = samples.error[last].astype(np.int32)
    sent = (~np.isin(samples.error, _codes(names, "dropped")))[order].astype(np.int32)
    response_ns = np.maximum(0, samples.end_ns[last] - samples.intended_ns[first]).astype(np.int64)
    failed = ~np.isin(error, _codes(names, ""))
    in_flight = np.isin(error, _codes(names, "aborted"))
    young = in_flight & (response_ns <= timeout_ns) if timeout_ns is not None else in_flight
    joined = Arrivals(
        endpoint=samples.endpoint[first].astype(np.int32),
        endpoint_names=tuple(str(name) for name in samples.endpoint_names),
        intended_ns=samples.intended_ns[first].astype(np.int64),
        response_ns=response_ns,
        felt_ns=np.where(failed, np.maximum(response_ns, timeout_ns or 0), response_ns),
        failed=failed,
        attempts=np.add.reduceat(sent, begins) if len(begins) else sent,
        error=error,
        error_names=names,
        censored=int(young.sum()),
    )
    return joined.only(~young) if joined.censored else joined


def client_timeout_ns(scenario: Mapping[str, Any], arms: Iterable[ArmSamples]) -> int | None:
    """The client's timeout per attempt: `load.timeout` of the scenario (`1s`, or a number of seconds).

    Without it, the median duration of the attempts that ended in `timeout`; without those, None.
    """
    load = scenario.get("load")
    given = load.get("timeout", load.get("timeout_s")) if isinstance(load, Mapping) else None
    if isinstance(given, str):
        try:
            return round(parse_duration(given) * NS)
        except UnitError:
            given = None
    if isinstance(given, int | float) and given > 0:
        return round(given * NS)
    lasted = [
        (arm.end_ns - arm.start_ns)[np.isin(arm.error, _codes(arm.error_names, "timeout"))].astype(np.int64)
        for arm in arms
    ]
    pooled = np.concatenate(lasted) if lasted else np.zeros(0, dtype=np.int64)
    return int(np.sort(pooled)[len(pooled) // 2]) if len(pooled) else None


def _codes(names: Iterable[str], *wanted: str) -> list[int]:
    return [code for code, name in enumerate(names) if str(name) in wanted]
