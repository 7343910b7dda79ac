"""Whether shedding all load ends a failure that outlived its fault (criterion C6).

The scenario's `hysteresis: on` appends two phases: no load until the queues are empty, then the load before. When the
system is well then, the failure kept itself alive by the load: metastable. When it is not although nothing was left to
do, something is leaked that only a restart gives back: stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis import tiers
from harness.analysis.experiment import Shedding
from harness.analysis.recovery import SHORTEST_S, Healing
from harness.analysis.verdict import Evidence, Hysteresis
from harness.clock import NS

if TYPE_CHECKING:
    from harness.record.reader import Telemetry

_STILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Queues:
    """What a shed phase did to the requests inside the tiers.

    `empty_after_s`: seconds of shedding until nothing more than in the baseline arm was left; None when it never was.
    `left`: requests at the end. `more_s`: when these would have been gone too, at the pace of the last 5 s; None when
    they were not getting fewer.
    """

    empty_after_s: float | None
    left: float
    more_s: float | None


def watch_queues(telemetry: Telemetry, arms: tuple[str, str], shedding: Shedding) -> Queues | None:
    """The queues of the fault arm (the second of `arms`) while the load was shed; None without readings of them."""
    t_ns, inside = tiers.inside(telemetry, arms[1])
    shed = (t_ns >= shedding.shed_ns) & (t_ns < shedding.return_ns)
    if not (shed & (t_ns >= shedding.return_ns - _STILL_S * NS)).any():
        return None
    t_ns, inside = t_ns[shed], inside[shed]
    usual = _usual(tiers.inside(telemetry, arms[0]), shedding)
    calm = inside <= usual
    # From when on it was calm for good.
    first = len(calm) - int(np.argmin(calm[::-1])) if not calm.all() else 0
    late = t_ns >= shedding.return_ns - _STILL_S * NS
    worked_off, took_s = float(inside[late][0] - inside[-1]), float(t_ns[-1] - t_ns[late][0]) / NS
    return Queues(
        empty_after_s=float(t_ns[first] - shedding.shed_ns) / NS if first < len(calm) else None,
        left=float(inside[-1]),
        more_s=float(inside[-1]) / worked_off * took_s if worked_off > 0 else None,
    )


def judge_hysteresis(
    still_down: bool | None, shedding: Shedding | None, queues: Queues | None, returned: Healing | None
) -> tuple[Evidence, Hysteresis]:
    """C6, and what it makes of a failure that was `still_down` (None when not known) when its load was shed.

    `returned` is the healing after the load's return, in both arms alike.
    """
    if shedding is None:
        return _not_tested("the load was not shed to nothing and brought back (`hysteresis: on` does it)")
    if still_down is None:
        return _not_tested("what was seen before the load was shed does not tell whether the system was well")
    if not still_down:
        return Evidence("C6", False, "The system was well before the load was shed: there was nothing to end."), ""
    if returned is None or returned.recovery.recovered is None:
        return _not_tested(f"fewer than {SHORTEST_S} s could be judged after the load came back")
    shed_s = (shedding.return_ns - shedding.shed_ns) / NS
    how = f"Shed to nothing for {shed_s:.0f} s{_emptied(queues)}, then brought back to the load before"
    if returned.recovery.recovered:
        text = f"{how}: as in the baseline arm again after {returned.recovery.seconds or 0.0:.0f} s."
        return Evidence("C6", True, text, "", returned.recovery.seconds, returned.recovery.interval), "confirmed"
    watched = f"{how}: not recovered in the {returned.watched_s} s that could be judged"
    if queues is None:
        return Evidence("C6", None, f"{watched}, but whether the queues were empty is not in the record."), "undecided"
    if queues.empty_after_s is None and queues.more_s is not None:
        longer = f"a `shed` about {queues.more_s:.0f} s longer would tell"
        return Evidence("C6", None, f"{watched}, but the queues were not empty: {longer}."), "undecided"
    return Evidence("C6", False, f"{watched}: something is held that only a restart gives back."), "stuck"


def _not_tested(why: str) -> tuple[Evidence, Hysteresis]:
    return Evidence("C6", None, f"Hysteresis not tested: {why}."), "not tested"


def _usual(inside: tuple[NDArray[np.int64], NDArray[np.float64]], shedding: Shedding) -> float:
    """What is in the tiers of the baseline arm without load, a reading's own request included."""
    t_ns, value = inside
    last = value[(t_ns >= shedding.return_ns - _STILL_S * NS) & (t_ns < shedding.return_ns)]
    return float(last.max()) if len(last) else 0.0


def _emptied(queues: Queues | None) -> str:
    if queues is None:
        return ""
    if queues.empty_after_s is not None:
        return f" (every queue was empty after {queues.empty_after_s:.0f} s)"
    return f" ({queues.left:.0f} requests were left{', getting fewer' if queues.more_s is not None else ''})"
