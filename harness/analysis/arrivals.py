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
    first, last = _first_and_last(samples)
    names = tuple(str(name) for name in samples.error_names)
    error = samples.error[last].astype(np.int32, copy=False)
    intended_ns = samples.intended_ns[first].astype(np.int64, copy=False)
    response_ns = np.maximum(0, samples.end_ns[last] - intended_ns)
    failed = ~np.isin(error, _codes(names, ""))
    in_flight = np.isin(error, _codes(names, "aborted"))
    young = in_flight & (response_ns <= timeout_ns) if timeout_ns is not None else in_flight
    joined = Arrivals(
        endpoint=samples.endpoint[first].astype(np.int32, copy=False),
        endpoint_names=tuple(str(name) for name in samples.endpoint_names),
        intended_ns=intended_ns,
        response_ns=response_ns,
        felt_ns=np.where(failed, np.maximum(response_ns, timeout_ns or 0), response_ns),
        failed=failed,
        attempts=_count_attempts(samples, first),
        error=error,
        error_names=names,
        censored=int(young.sum()),
    )
    return joined.only(~young) if joined.censored else joined


Rows = slice | NDArray[np.intp]


def _first_and_last(samples: ArmSamples) -> tuple[Rows, Rows]:
    """The rows of every arrival's first and last attempt, by ascending `first_seq`; the same ones where none retries.

    Most rows are arrivals that nobody retries, so only the retries are sorted.
    """
    first = np.flatnonzero(samples.attempt == 0)
    chains = samples.first_seq[first]
    if np.any(chains[1:] < chains[:-1]):
        order = np.argsort(chains, kind="stable")
        first, chains = first[order], chains[order]
    elif len(first) == len(samples.attempt):
        return slice(None), slice(None)
    again = np.flatnonzero(samples.attempt)
    again = again[np.lexsort((samples.attempt[again], samples.first_seq[again]))]
    last = first.copy()
    # Of several attempts at the same place the last one assigned stays, and attempts ascend.
    last[np.searchsorted(chains, samples.first_seq[again])] = again
    return first, last


def _count_attempts(samples: ArmSamples, first: Rows) -> Codes:
    """How many attempts each arrival sent; `dropped` ones never left."""
    sent = ~np.isin(samples.error, _codes(samples.error_names, "dropped"))
    counts = sent[first].astype(np.int32)
    again = np.flatnonzero((samples.attempt > 0) & sent)
    if len(again):
        chains = samples.first_seq[first]
        at, more = np.unique(np.searchsorted(chains, samples.first_seq[again]), return_counts=True)
        counts[at] += more.astype(np.int32)
    return counts


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
