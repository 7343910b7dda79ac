"""When each damaged endpoint and each full tier first left its baseline (criterion C5)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np

from harness.analysis.cells import Pair
from harness.analysis.damage import Damage, single
from harness.analysis.effects import quantile_ms
from harness.analysis.experiment import Window
from harness.analysis.seconds import Seconds
from harness.analysis.tiers import Load
from harness.analysis.verdict import Evidence, Interval, Onset
from harness.clock import NS
from harness.stats.noise import Noise
from harness.stats.onset import departure

_TIE_S = 2.0
_WIDEST_S = 10.0


def find_onsets(
    pairs: Mapping[str, Pair],
    damages: Iterable[Damage],
    loads: Mapping[str, Load],
    seconds: Seconds,
    window: Window,
    timeout_ns: int | None,
) -> tuple[Onset, ...]:
    """Onsets in order of time.

    Seconds are binned by intended start, which puts harm up to one client timeout before its cause; what is found
    before the injection is set to the injection. An onset that is uncertain by more than 10 s is left out.
    """
    first = int(np.searchsorted(seconds.edges_ns, window.active_ns - (timeout_ns or 0)))
    bins = slice(min(first, seconds.during.start), seconds.after.stop)
    found = []
    for damage in _first_of_each(damages):
        pair = pairs[damage.endpoint]
        if damage.errors:
            found.append(_onset(f"{damage.endpoint} errors", *_failures(pair, bins), bins, seconds, window))
        elif damage.slower:
            found.append(_onset(f"{damage.endpoint} p95", *_slow(pair, bins, seconds), bins, seconds, window))
    end_ns = int(seconds.edges_ns[-1])
    for load in loads.values():
        full_ns = load.full_from(window.active_ns, end_ns)
        already = load.typical(0, window.active_ns)
        if full_ns is not None and (already is None or already < 0.9):
            earlier = load.t_ns[load.t_ns < full_ns]
            since_ns = max(window.active_ns, int(earlier[-1])) if len(earlier) else window.active_ns
            found.append(Onset(f"{load.name} full", full_ns / NS, Interval(since_ns / NS, full_ns / NS)))
    resolved = [onset for onset in found if onset is not None and _width(onset) <= _WIDEST_S]
    return tuple(sorted(resolved, key=lambda onset: (onset.t_s, onset.series)))


def order_evidence(onsets: tuple[Onset, ...]) -> Evidence:
    """In which order things went, where the intervals tell; onsets within 2 s of each other are a tie."""
    if len(onsets) < 2:
        return Evidence("C5", None, "Fewer than two onsets were found, so there is no order to tell.")
    parts = [f"{onsets[0].series} at {onsets[0].t_s:.1f} s"]
    apart = False
    for earlier, later in itertools.pairwise(onsets):
        clear = later.t_s - earlier.t_s > _TIE_S and _low(later) >= _high(earlier)
        apart = apart or clear
        parts.append(f"{'then' if clear else 'together with it'} {later.series} at {later.t_s:.1f} s")
    return Evidence("C5", apart, ", ".join(parts) + ". Within 2 s is a tie.")


def _first_of_each(damages: Iterable[Damage]) -> list[Damage]:
    """One damage per endpoint: the fault window's before the later ones'."""
    chosen: dict[str, Damage] = {}
    for damage in single(damages, "fault", "after"):
        if damage.met and (damage.endpoint not in chosen or (damage.errors and not chosen[damage.endpoint].errors)):
            chosen[damage.endpoint] = damage
    return [chosen[name] for name in sorted(chosen)]


def _failures(pair: Pair, bins: slice) -> tuple[list[float], float]:
    one, other = pair.fault, pair.baseline
    rate = [
        _share(one.failed[at], one.arrivals[at]) - _share(other.failed[at], other.arrivals[at])
        for at in range(bins.start, bins.stop)
    ]
    calm = int(other.arrivals.sum())
    share = max(0.01, int(other.failed.sum()) / max(1, calm))
    return rate, _scale(share, pair, bins, pair.noise_of_failures())


def _slow(pair: Pair, bins: slice, seconds: Seconds) -> tuple[list[float], float]:
    """The share of arrivals slower than the baseline's p95 allows (+20 % and 10 ms), fault minus baseline."""
    p95 = quantile_ms(pair.baseline, seconds.during, 0.95) or quantile_ms(pair.baseline, seconds.all, 0.95) or 0.0
    beyond = int(np.searchsorted(pair.fault.middles_ms, max(p95 * 1.2, p95 + 10), side="right"))
    slow = [cells.felt[:, beyond:].sum(axis=1) for cells in (pair.fault, pair.baseline)]
    rate = [
        _share(slow[0][at], pair.fault.arrivals[at]) - _share(slow[1][at], pair.baseline.arrivals[at])
        for at in range(bins.start, bins.stop)
    ]
    return rate, _scale(0.05, pair, bins, pair.noise_of_quantile(0.95))


def _scale(share: float, pair: Pair, bins: slice, noise: Noise) -> float:
    """The long-run standard deviation of a second's difference of shares; never below that of one arrival in 100."""
    arrivals = max(1.0, float(np.median(pair.baseline.arrivals[bins])))
    return math.sqrt(2 * noise.design_effect * share * (1 - share) / arrivals)


def _onset(series: str, rate: list[float], scale: float, bins: slice, seconds: Seconds, window: Window) -> Onset | None:
    found = departure(rate, scale)
    if found is None:
        return None
    active_s = window.active_ns / NS
    begins = float(seconds.edges_ns[bins.start + found.first]) / NS
    alarm = float(seconds.edges_ns[bins.start + found.alarm + 1]) / NS
    return Onset(series, max(active_s, begins), Interval(max(active_s, begins - 1), max(active_s, alarm)))


def _share(events: int, n: int) -> float:
    return int(events) / int(n) if n else 0.0


def _low(onset: Onset) -> float:
    return onset.t_s if onset.interval.low is None else onset.interval.low


def _high(onset: Onset) -> float:
    return onset.t_s if onset.interval.high is None else onset.interval.high


def _width(onset: Onset) -> float:
    return _high(onset) - _low(onset)
