"""How busy each tier was, from telemetry: workers and connection pools against their limits, and who waits for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS

if TYPE_CHECKING:
    from harness.record.reader import Telemetry

Readings = tuple[NDArray[np.int64], NDArray[np.float64]]

BUSY = 0.9
_STALE_NS = 5 * NS
_LASTING_NS = 2 * NS
_REPLICA = re.compile(r"-\d+$")
_RESOURCES = (("workers", "workers_busy", "workers_limit"), ("connection pool", "pool_in_use", "pool_size"))
_WAITS = (("workers", "queue_length"), ("connection pool", "pool_waiting"))


@dataclass(frozen=True, slots=True)
class Load:
    """Readings of one resource of a tier, of all its replicas in order of time.

    `share` is the busy share (0..1) of what has a limit; of what waits for it, 1 where somebody waits and 0 else.
    """

    tier: str
    resource: str
    t_ns: NDArray[np.int64]
    share: NDArray[np.float64]

    @property
    def name(self) -> str:
        """`app workers`."""
        return f"{self.tier} {self.resource}"

    def typical(self, start_ns: int, end_ns: int) -> float | None:
        """The median reading in `[start_ns, end_ns)`; None without one."""
        inside = self.share[(self.t_ns >= start_ns) & (self.t_ns < end_ns)]
        return float(np.median(inside)) if len(inside) else None

    def mean(self, start_ns: int, end_ns: int) -> float | None:
        """The mean reading in `[start_ns, end_ns)`; None without one."""
        inside = self.share[(self.t_ns >= start_ns) & (self.t_ns < end_ns)]
        return float(np.mean(inside)) if len(inside) else None

    def full_from(self, start_ns: int, end_ns: int) -> int | None:
        """The first reading in `[start_ns, end_ns)` at 90 % or more, as all in the next 2 s; None without one."""
        within = (self.t_ns >= start_ns) & (self.t_ns < end_ns)
        t_ns, busy = self.t_ns[within], self.share[within] >= BUSY
        idle_ns = np.append(t_ns[~busy], np.iinfo(np.int64).max)
        followed = np.searchsorted(t_ns, t_ns + _LASTING_NS, side="right") - np.arange(len(t_ns)) > 1
        lasting = busy & followed & (idle_ns[np.searchsorted(idle_ns, t_ns)] > t_ns + _LASTING_NS)
        return int(t_ns[lasting.argmax()]) if lasting.any() else None


def tier_of(component: str) -> str:
    """`app` for its replica `app-1`."""
    return _REPLICA.sub("", component)


def read_loads(telemetry: Telemetry, arm: str) -> Mapping[str, Load]:
    """The tiers of an arm whose use and limit were both read, by name: `app workers`, `app connection pool`."""
    found: dict[tuple[str, str], list[Readings]] = {}
    for component in _components(telemetry, arm):
        for resource, used, limit in _RESOURCES:
            t_ns, value = readings(telemetry, arm, component, used)
            limit_t_ns, limit_value = readings(telemetry, arm, component, limit)
            if len(t_ns) == 0 or len(limit_t_ns) == 0:
                continue
            at = np.maximum(0, np.searchsorted(limit_t_ns, t_ns, side="right") - 1)
            known = limit_value[at] > 0
            share = value[known] / limit_value[at][known]
            found.setdefault((tier_of(component), resource), []).append((t_ns[known], share))
    return _merged(found)


def read_waits(telemetry: Telemetry, arm: str, until_ns: int) -> Mapping[str, Load]:
    """Where requests of an arm wait, by the name of what they wait for: more of them than ever before `until_ns`."""
    found: dict[tuple[str, str], list[Readings]] = {}
    for component in _components(telemetry, arm):
        for resource, metric in _WAITS:
            t_ns, value = readings(telemetry, arm, component, metric)
            if len(t_ns):
                usual = float(value[t_ns < until_ns].max(initial=0.0))
                found.setdefault((tier_of(component), resource), []).append((t_ns, (value > usual).astype(float)))
    return _merged(found)


def inside(telemetry: Telemetry, arm: str) -> Readings:
    """Requests inside the tiers of an arm, queued or being worked on, at every moment when one of them was read."""
    parts = [
        readings(telemetry, arm, component, metric)
        for component in _components(telemetry, arm)
        for metric in ("queue_length", "workers_busy")
    ]
    moments = np.unique(np.concatenate([t_ns for t_ns, _ in parts] or [np.empty(0, dtype=np.int64)]))
    total = np.zeros(len(moments))
    for t_ns, value in parts:
        # The latest reading of each; nothing before the first.
        total += np.concatenate(([0.0], value))[np.searchsorted(t_ns, moments, side="right")]
    return moments, total


def waiting(telemetry: Telemetry, arm: str, at_ns: int) -> float | None:
    """Requests inside the tiers at a moment; None without a reading in the 5 s up to then."""
    t_ns, total = inside(telemetry, arm)
    last = int(np.searchsorted(t_ns, at_ns, side="right")) - 1
    return float(total[last]) if last >= 0 and t_ns[last] >= at_ns - _STALE_NS else None


def readings(telemetry: Telemetry, arm: str, component: str, metric: str) -> Readings:
    """One series without the readings that are no numbers."""
    t_ns, value = telemetry.series(arm, component, metric)
    known = np.isfinite(value)
    return t_ns[known], value[known]


def _components(telemetry: Telemetry, arm: str) -> list[str]:
    return sorted({component for name, component, _ in telemetry.available() if name == arm})


def _merged(found: Mapping[tuple[str, str], list[Readings]]) -> Mapping[str, Load]:
    loads = {}
    for (tier, resource), parts in sorted(found.items()):
        t_ns = np.concatenate([times for times, _ in parts])
        share = np.concatenate([values for _, values in parts])
        order = np.lexsort((share, t_ns))
        load = Load(tier, resource, t_ns[order], share[order])
        loads[load.name] = load
    return loads
