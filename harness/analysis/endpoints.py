"""The per-endpoint table: both arms in the seconds of the fault."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.analysis.arrivals import Arrivals
from harness.analysis.cells import ALL, Cells, Pair
from harness.analysis.effects import quantile_ms
from harness.analysis.experiment import Window
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import EndpointSummary


def summarise(
    pairs: Mapping[str, Pair],
    seconds: Seconds,
    window: Window | None,
    fault: Arrivals | None,
    paths: Mapping[str, bool | None],
) -> tuple[EndpointSummary, ...]:
    """One row per endpoint by name. Without a fault window the seconds are all after the warm-up."""
    where = seconds.during if window is not None else seconds.all
    errors = _errors(fault, window) if fault is not None else {}
    return tuple(
        _row(pair, where, seconds.after, paths.get(pair.endpoint), errors.get(pair.endpoint, {}))
        for pair in pairs.values()
        if pair.endpoint != ALL
    )


def _row(pair: Pair, where: slice, after: slice, path: bool | None, errors: dict[str, int]) -> EndpointSummary:
    one, other = pair.baseline, pair.fault
    return EndpointSummary(
        endpoint=pair.endpoint,
        declared_path=path,
        arrivals_baseline=int(one.arrivals[where].sum()),
        arrivals_fault=int(other.arrivals[where].sum()),
        error_rate_baseline=_share(one, where),
        error_rate_fault=_share(other, where),
        error_rate_after=_share(other, after),
        p50_baseline_ms=quantile_ms(one, where, 0.5),
        p50_fault_ms=quantile_ms(other, where, 0.5),
        p95_baseline_ms=quantile_ms(one, where, 0.95),
        p95_fault_ms=quantile_ms(other, where, 0.95),
        p99_baseline_ms=quantile_ms(one, where, 0.99),
        p99_fault_ms=quantile_ms(other, where, 0.99),
        attempts_per_arrival_baseline=_attempts(one, where),
        attempts_per_arrival_fault=_attempts(other, where),
        errors_fault=errors,
    )


def _share(cells: Cells, where: slice) -> float | None:
    n = int(cells.arrivals[where].sum())
    return int(cells.failed[where].sum()) / n if n else None


def _attempts(cells: Cells, where: slice) -> float | None:
    n = int(cells.arrivals[where].sum())
    return int(cells.attempts[where].sum()) / n if n else None


def _errors(fault: Arrivals, window: Window | None) -> dict[str, dict[str, int]]:
    """How arrivals of the fault window failed, by endpoint: error word -> count."""
    inside = fault.failed.copy()
    if window is not None:
        inside &= (fault.intended_ns >= window.active_ns) & (fault.intended_ns < window.clear_ns)
    found: dict[str, dict[str, int]] = {}
    for name, part in fault.only(inside).by_endpoint():
        codes, counts = np.unique(part.error, return_counts=True)
        words = {part.error_names[code]: int(count) for code, count in zip(codes, counts, strict=True)}
        found[name] = dict(sorted(words.items()))
    return found
