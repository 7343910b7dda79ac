"""How much was hit at most, and for how long: a description of the run for people, not a test.

A second of an endpoint is hit when, by the limits of the time to recovery, more of its arrivals failed than the
baseline arm and chance explain, or when so many were slow, in it and in the 5 s around. The arrivals beyond those of
the baseline arm's same second are the damage; in the seconds between, which differ by chance, nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import ALL, Pair
from harness.analysis.recovery import Trace
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import EndpointImpact, Impact
from harness.clock import NS

Floats = NDArray[np.float64]


def measure_impact(pairs: Mapping[str, Pair], seconds: Seconds) -> Impact | None:
    """The impact on every endpoint and on all together, from the injection on; None when nothing was watched."""
    bins = np.arange(seconds.during.start, seconds.after.stop)
    own = {name: pair for name, pair in pairs.items() if name != ALL}
    if not len(bins) or not own:
        return None
    lengths_s = np.diff(seconds.edges_ns)[bins] / NS
    arrivals = {name: pair.fault.arrivals[bins].astype(float) for name, pair in own.items()}
    harmed = {name: _harmed(Trace.of(pair, bins, pair)) for name, pair in own.items()}
    all_harmed, all_arrivals = np.sum(list(harmed.values()), axis=0), np.sum(list(arrivals.values()), axis=0)
    together = _describe(pairs[ALL], bins, all_harmed, all_arrivals, lengths_s)
    return Impact(
        share=together.share,
        seconds=together.seconds,
        until_s=together.until_s,
        failed=together.failed,
        per_endpoint={
            name: _describe(pair, bins, harmed[name], arrivals[name], lengths_s) for name, pair in own.items()
        },
    )


def _harmed(trace: Trace) -> Floats:
    """Arrivals of each second that failed or were slow beyond the baseline arm's; 0 in seconds that are not hit."""
    times = trace.n / np.maximum(1, trace.baseline_n)
    failed = np.where(trace.too_many_failed(trace.failed), trace.failed - trace.baseline_failed * times, 0.0)
    slow = np.where(trace.too_many_slow(), trace.slow - trace.baseline_slow * times, 0.0)
    # A failed arrival counts as the client's timeout, so that most are among the slow ones.
    return np.maximum(0.0, np.maximum(failed, slow))


def _describe(
    pair: Pair, bins: NDArray[np.intp], harmed: Floats, arrivals: Floats, lengths_s: Floats
) -> EndpointImpact:
    hit = np.flatnonzero(harmed)
    n_0, n = int(pair.baseline.arrivals[bins].sum()), int(pair.fault.arrivals[bins].sum())
    usual = int(pair.baseline.failed[bins].sum()) * n / max(1, n_0)
    return EndpointImpact(
        share=_short(float((harmed[hit] / arrivals[hit]).max(initial=0.0))),
        seconds=_short(float(lengths_s[hit].sum())),
        until_s=_short(float(lengths_s[: hit[-1] + 1].sum())) if len(hit) else 0.0,
        failed=max(0, round(int(pair.fault.failed[bins].sum()) - usual)),
    )


def _short(value: float) -> float:
    return round(value, 4)
