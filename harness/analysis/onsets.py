"""When each damaged endpoint and each saturated tier first left its baseline, and how well that moment is known.

Seconds are binned by intended start, which puts harm a little before its cause (up to one client timeout): what is
found before the injection is set to the injection, and that last timeout does not count as undisturbed. The moment of a
series is drawn anew many times, all series together: blocks of the undisturbed seconds' deviations, the same seconds
for every series, and the chance in how many arrivals fail. The order of two series is judged on these draws.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import Cells, Pair
from harness.analysis.damage import Damage, single, slow_limit_ms
from harness.analysis.effects import quantile_ms
from harness.analysis.experiment import Window
from harness.analysis.seconds import Seconds
from harness.analysis.tiers import BUSY, Load
from harness.analysis.verdict import Interval, Onset, OnsetKind
from harness.clock import NS
from harness.stats.noise import Noise
from harness.stats.onset import Departure, departure, locate

Floats = NDArray[np.float64]

TIE_S = 2.0
DRAWS = 400
_WIDEST_S = 10.0
_MOST_BINS = 600
_BLOCK = 3
_FEWEST_CALM = 3
_FEW_EVENTS = 10
_SMALLEST_SHARE = 0.01
_SLOW_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Located:
    """An onset and its `DRAWS` draws, in seconds since the arm's start; draw k of all onsets belongs together."""

    onset: Onset
    draws: Floats


def find_onsets(
    pairs: Mapping[str, Pair],
    damages: Iterable[Damage],
    loads: Mapping[str, Load],
    waits: Mapping[str, Load],
    seconds: Seconds,
    window: Window,
    timeout_ns: int | None,
) -> tuple[Located, ...]:
    """The onsets in order of time; `loads` and `waits` are those of the fault arm, by what is full or waited for."""
    grid = _Grid.of(seconds, window, timeout_ns)
    found = [located for series in _client_series(pairs, damages, seconds, grid) for located in _locate(series, grid)]
    found += _tier_onsets("full", loads, window, grid.end_s)
    found += _tier_onsets("waiting", waits, window, grid.end_s)
    return tuple(sorted(found, key=lambda located: (located.onset.t_s, located.onset.series)))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The bins of the series: whole seconds, or several when there are very many.

    `cuts` index the edges of the seconds. `calm`: bins up to one client timeout before the injection; no onset is
    earlier. `blocks`: for every draw and bin, which calm bin's deviation it gets; None with too few calm bins.
    """

    cuts: NDArray[np.int64]
    edges_s: Floats
    calm: int
    active_s: float
    blocks: NDArray[np.int64] | None

    @property
    def end_s(self) -> float:
        return float(self.edges_s[-1])

    @staticmethod
    def of(seconds: Seconds, window: Window, timeout_ns: int | None) -> _Grid:
        stop, anchor = seconds.after.stop or seconds.during.stop, seconds.during.start
        width = math.ceil(stop / _MOST_BINS) if stop else 1
        ahead = np.arange(anchor, 0, -width)[::-1]
        cuts = np.concatenate((ahead[ahead < anchor], np.arange(anchor, stop, width), [stop]))
        edges_ns = seconds.edges_ns[cuts]
        calm = int(np.searchsorted(edges_ns[1:], window.active_ns - (timeout_ns or 0), side="right"))
        return _Grid(cuts, edges_ns / NS, calm, window.active_ns / NS, _blocks(calm, len(cuts) - 1))

    def sums(self, counts: NDArray[np.integer]) -> Floats:
        """Counts per second (axis 0) summed over each bin."""
        return np.asarray(np.add.reduceat(counts, self.cuts[:-1], axis=0), dtype=float)


def _blocks(calm: int, bins: int) -> NDArray[np.int64] | None:
    if calm < _FEWEST_CALM:
        return None
    rng = np.random.default_rng((calm, bins))
    length = min(_BLOCK, calm)
    begins = rng.integers(0, calm, size=(DRAWS, math.ceil(bins / length)))
    return ((begins[:, :, None] + np.arange(length)) % calm).reshape(DRAWS, -1)[:, :bins]


@dataclass(frozen=True, slots=True)
class _Series:
    """The share of an endpoint's arrivals that are harmed, per bin: fault arm, baseline arm, arrivals of the fault arm.

    `deviation`: the long-run standard deviation of their difference; `freedom` behind it, 0 when it is known.
    """

    name: str
    kind: OnsetKind
    fault: Floats
    baseline: Floats
    arrivals: Floats
    deviation: float
    freedom: int


def _client_series(
    pairs: Mapping[str, Pair], damages: Iterable[Damage], seconds: Seconds, grid: _Grid
) -> Iterable[tuple[_Series, ...]]:
    """One or two series per damaged endpoint: slow, failed."""
    seen = [damage for damage in single(damages, "fault", "after") if damage.met]
    for name in sorted({damage.endpoint for damage in seen}):
        pair = pairs[name]
        slow = _slow_series(pair, seconds, grid)
        if any(damage.errors for damage in seen if damage.endpoint == name):
            yield slow, _failed_series(pair, grid)
        else:
            yield (slow,)


def _failed_series(pair: Pair, grid: _Grid) -> _Series:
    failed = [grid.sums(cells.failed) for cells in (pair.fault, pair.baseline)]
    usual = int(pair.baseline.failed.sum()) / max(1, int(pair.baseline.arrivals.sum()))
    share = max(_SMALLEST_SHARE, usual)
    return _series(f"{pair.endpoint} errors", "errors", failed, pair, share, pair.noise_of_failures(), grid)


def _slow_series(pair: Pair, seconds: Seconds, grid: _Grid) -> _Series:
    """Arrivals slower than what the baseline's p95 allows (+20 % and 10 ms); failed ones count as slow."""
    p95 = quantile_ms(pair.baseline, seconds.during, 0.95) or quantile_ms(pair.baseline, seconds.all, 0.95) or 0.0
    limit_ms = slow_limit_ms(p95)

    def slow(cells: Cells) -> Floats:
        beyond = int(np.searchsorted(cells.middles_ms, limit_ms, side="right"))
        return grid.sums(cells.felt[:, beyond:].sum(axis=1))

    noise = pair.noise_of_quantile(1 - _SLOW_SHARE)
    return _series(
        f"{pair.endpoint} p95", "slow", [slow(pair.fault), slow(pair.baseline)], pair, _SLOW_SHARE, noise, grid
    )


def _series(
    name: str, kind: OnsetKind, harmed: list[Floats], pair: Pair, share: float, noise: Noise, grid: _Grid
) -> _Series:
    arrivals = [grid.sums(cells.arrivals) for cells in (pair.fault, pair.baseline)]
    usual = max(1.0, float(np.median(arrivals[1])))
    return _Series(
        name,
        kind,
        fault=harmed[0] / np.maximum(1, arrivals[0]),
        baseline=harmed[1] / np.maximum(1, arrivals[1]),
        arrivals=arrivals[0],
        deviation=math.sqrt(2 * noise.design_effect * share * (1 - share) / usual),
        freedom=noise.freedom if noise.events >= _FEW_EVENTS else 0,
    )


def _locate(series: tuple[_Series, ...], grid: _Grid) -> list[Located]:
    """The onsets of an endpoint: that of its errors, and that of being slow when there are none or it came first."""
    located = []
    for one in reversed(series):
        rise = one.fault - one.baseline
        found = departure(rise, one.deviation, earliest=grid.calm, freedom=one.freedom)
        if found is not None:
            located.append(_draw(one, rise, found, grid))
    if len(located) > 1 and located[1].onset.t_s >= located[0].onset.t_s - TIE_S:
        return located[:1]
    return located


def _draw(series: _Series, rise: Floats, found: Departure, grid: _Grid) -> Located:
    part = slice(0, found.stop)
    lasting = np.arange(found.stop) >= found.first
    level = np.where(lasting, rise[found.first : found.stop].mean(), rise[: found.first].mean() if found.first else 0.0)
    share = float(series.fault[found.first : found.stop].mean())
    chance = np.where(lasting, np.sqrt(share * (1 - share) / np.maximum(1, series.arrivals[part])), 0.0)
    seed = zlib.crc32(np.stack((series.fault, series.arrivals)).tobytes())
    rng = np.random.default_rng(seed)
    drawn = level + chance * rng.standard_normal((DRAWS, found.stop))
    if grid.blocks is not None:
        calm = rise[: grid.calm] - rise[: grid.calm].mean()
        drawn += calm[grid.blocks[:, part]]
    first = locate(drawn, grid.calm)
    # A bin that was hit in its second half does not stand out, so the moment is within half a bin of an edge.
    lengths = np.append(np.diff(grid.edges_s), 0.0)
    draws = grid.edges_s[first] + lengths[first] * (rng.random(DRAWS) - 0.5)
    return _located(series.name, series.kind, float(grid.edges_s[found.first]), draws, grid.active_s)


def _tier_onsets(kind: OnsetKind, loads: Mapping[str, Load], window: Window, end_s: float) -> Iterable[Located]:
    """When a tier was full, or waited for, and had not been before the injection: between two of its readings."""
    for load in loads.values():
        since_ns = load.full_from(window.active_ns, round(end_s * NS))
        before = load.typical(0, window.active_ns)
        if since_ns is None or (before is not None and before >= BUSY):
            continue
        earlier = load.t_ns[load.t_ns < since_ns]
        from_s = max(window.active_ns, int(earlier[-1])) / NS if len(earlier) else window.active_ns / NS
        rng = np.random.default_rng(zlib.crc32(load.share.tobytes()))
        draws = rng.uniform(from_s, since_ns / NS, DRAWS) if since_ns / NS > from_s else np.full(DRAWS, from_s)
        name = f"{load.name} full" if kind == "full" else f"{load.name} queue"
        yield _located(name, kind, since_ns / NS, draws, window.active_ns / NS)


def _located(name: str, kind: OnsetKind, t_s: float, draws: Floats, active_s: float) -> Located:
    draws, t_s = np.maximum(draws, active_s), max(t_s, active_s)
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    interval = Interval(min(low, t_s), max(high, t_s))
    resolved = max(high, t_s) - min(low, t_s) <= _WIDEST_S
    return Located(Onset(name, t_s, interval, kind, resolved), draws)
