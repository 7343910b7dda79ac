"""How busy each tier was, from telemetry: workers and connection pools against their limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harness.record.reader import Telemetry

BUSY = 0.9
_REPLICA = re.compile(r"-\d+$")
_RESOURCES = (("workers", "workers_busy", "workers_limit"), ("connection pool", "pool_in_use", "pool_size"))


@dataclass(frozen=True, slots=True)
class Load:
    """The busy share (0..1) of one resource of a tier, readings of all its replicas in order of time."""

    name: str
    t_ns: NDArray[np.int64]
    share: NDArray[np.float64]

    def typical(self, start_ns: int, end_ns: int) -> float | None:
        """The median reading in `[start_ns, end_ns)`; None without one."""
        inside = self.share[(self.t_ns >= start_ns) & (self.t_ns < end_ns)]
        return float(np.median(inside)) if len(inside) else None

    def full_from(self, start_ns: int, end_ns: int) -> int | None:
        """The first reading at 90 % or more in `[start_ns, end_ns)` that the next one confirms; None without one."""
        inside = np.flatnonzero((self.t_ns >= start_ns) & (self.t_ns < end_ns))
        busy = self.share[inside] >= BUSY
        lasting = np.flatnonzero(busy[:-1] & busy[1:])
        return int(self.t_ns[inside[lasting[0]]]) if len(lasting) else None


def read_loads(telemetry: Telemetry, arm: str) -> Mapping[str, Load]:
    """The tiers of an arm whose use and limit were both read, by name: `app workers`, `app connection pool`."""
    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    components = sorted({component for name, component, _ in telemetry.available() if name == arm})
    for component in components:
        for resource, used, limit in _RESOURCES:
            t_ns, value = telemetry.series(arm, component, used)
            limit_t_ns, limit_value = telemetry.series(arm, component, limit)
            if len(t_ns) == 0 or len(limit_t_ns) == 0:
                continue
            at = np.maximum(0, np.searchsorted(limit_t_ns, t_ns, side="right") - 1)
            known = limit_value[at] > 0
            share = value[known] / limit_value[at][known]
            found.setdefault(f"{_REPLICA.sub('', component)} {resource}", []).append((t_ns[known], share))
    return {name: _merge(name, parts) for name, parts in sorted(found.items())}


def waiting(telemetry: Telemetry, arm: str, at_ns: int) -> float | None:
    """Requests in the tiers at a moment, queued or being worked on: last readings summed; None without readings."""
    readings = []
    for name, component, metric in telemetry.available():
        if name == arm and metric in ("queue_length", "workers_busy"):
            t_ns, value = telemetry.series(name, component, metric)
            last = int(np.searchsorted(t_ns, at_ns, side="right")) - 1
            if last >= 0:
                readings.append(float(value[last]))
    return sum(readings) if readings else None


def drain_s(loads: Mapping[str, Load], span_ns: tuple[int, int], rate: float, backlog: float | None) -> float | None:
    """Seconds to work off `backlog` at `rate` arrivals/s, by the utilisation law on the undisturbed arm's busiest tier.

    Capacity is rate / busy share. None when it can't be told: no readings, or a tier nearly idle or nearly full.
    """
    shares = [share for load in loads.values() if (share := load.typical(*span_ns)) is not None]
    busiest = max(shares, default=0.0)
    if backlog is None or not 0.05 < busiest < 0.95 or rate <= 0:
        return None
    return backlog / (rate / busiest - rate)


def _merge(name: str, parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Load:
    t_ns = np.concatenate([times for times, _ in parts])
    share = np.concatenate([values for _, values in parts])
    order = np.lexsort((share, t_ns))
    return Load(name, t_ns[order], share[order])
