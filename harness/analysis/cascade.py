"""How far the damage went and whether it stayed: the criteria C1 to C6 and the class they make.

`none`: no endpoint was damaged. `contained`: only endpoints with a declared path to what was broken.
`cascading`: others too (C1), or retries multiplied the load (C2) while useful work collapsed (C4).
`metastable`: still damaged in the last 10 s of an arm that went on long enough after the confirmed clear (see
`harness.analysis.drain`), at a load that the baseline arm carried. Watched for less, it is what it was without that,
and the sentence says so. `unknown`: the record cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.cells import ALL, Pair
from harness.analysis.damage import Damage, single
from harness.analysis.experiment import Experiment, Window
from harness.analysis.recovery import SHORTEST_S, STRETCH_S, Healing
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Cascade, CascadeClass, Evidence, Hysteresis, Interval
from harness.clock import NS

# The confirmed clear comes a little after the planned one, so a recovery phase of 20 s leaves a little less.
_WATCH_TOLERANCE_S = 1.0
_CARRIED = 0.05
_ENDINGS: Mapping[Hysteresis, str] = {
    "": "",
    "not tested": "Hysteresis not tested.",
    "confirmed": "Shedding all load ended it, and the same load did not bring it back: metastable, confirmed.",
    "stuck": "Not even shedding all load ended it: stuck, something is held that only a restart gives back.",
    "undecided": "The load was shed, but whether that could end it can't be told.",
}


@dataclass(frozen=True, slots=True)
class Persistence:
    """Whether damage stayed: what is `down` in the last seconds, after `watched_s` of the `needed_s` it takes."""

    down: tuple[str, ...]
    watched_s: float
    needed_s: float
    carried: bool

    @property
    def metastable(self) -> bool:
        """Still down after long enough at a load that the baseline arm carried."""
        return bool(self.down) and self.carried and self.watched_s >= self.needed_s - _WATCH_TOLERANCE_S


def unknown(sentence: str) -> Cascade:
    """The class when nothing can be told."""
    return Cascade("unknown", sentence, (), ())


def judge_persistence(healing: Healing, persistence: Persistence | None) -> Evidence:
    """C3: not recovered within what was watched."""
    recovery = healing.recovery
    if recovery.recovered is None:
        return Evidence("C3", None, f"Fewer than {SHORTEST_S} s after a confirmed clear could be judged.")
    if recovery.recovered:
        seconds = recovery.seconds or 0.0
        short = f" (good for the last {healing.seen_good_s} s, where the record ends)"
        text = f"As in the baseline arm again {seconds:.0f} s after the fault was confirmed gone"
        short = short if healing.seen_good_s < STRETCH_S else ""
        return Evidence("C3", False, text + short + ".", "", seconds, recovery.interval)
    down = f"; still down at the end: {', '.join(persistence.down)}" if persistence and persistence.down else ""
    text = f"Not recovered in the {healing.watched_s} s that could be judged after the fault was confirmed gone{down}."
    return Evidence("C3", True, text, "", float(healing.watched_s), Interval(float(healing.watched_s), None))


def measure_persistence(
    experiment: Experiment,
    window: Window,
    pairs: Mapping[str, Pair],
    seconds: Seconds,
    damages: Iterable[Damage],
    healing: Healing,
    needed_s: float,
) -> Persistence:
    """What the last seconds of the arms show; `needed_s` is how long it takes to tell damage that stays."""
    down: Sequence[str] = ()
    if window.cleared and healing.recovery.recovered is False:
        down = sorted(damage.endpoint for damage in single(damages, "tail") if damage.met)
    baseline = pairs[ALL].baseline
    arrivals, failed = int(baseline.arrivals[seconds.after].sum()), int(baseline.failed[seconds.after].sum())
    return Persistence(
        down=tuple(down),
        watched_s=(experiment.end_ns - window.clear_ns) / NS,
        needed_s=needed_s,
        carried=arrivals > 0 and failed <= _CARRIED * arrivals,
    )


def classify(
    evidence: Mapping[str, Evidence],
    damages: Sequence[Damage],
    persistence: Persistence,
    paths: Mapping[str, bool | None],
    hysteresis: Hysteresis,
) -> tuple[CascadeClass, str]:
    """The class from the criteria and its sentence; `evidence` maps `C1`..`C6` to what was found."""
    klass = _klass(evidence, damages, persistence)
    sentence = _sentence(klass, evidence, damages, persistence, paths)
    return klass, f"{sentence} {_ENDINGS[hysteresis]}" if klass == "metastable" else sentence


def _klass(evidence: Mapping[str, Evidence], damages: Sequence[Damage], persistence: Persistence) -> CascadeClass:
    seen = [damage for damage in damages if damage.stretch != "tail" and damage.met]
    if not seen:
        judged = [damage for damage in damages if damage.stretch == "fault" and damage.met is False]
        return "none" if judged else "unknown"
    if persistence.metastable:
        return "metastable"
    if evidence["C1"].met or (evidence["C2"].met and evidence["C4"].met):
        return "cascading"
    return "unknown" if evidence["C1"].met is None else "contained"


def _sentence(
    klass: CascadeClass,
    evidence: Mapping[str, Evidence],
    damages: Sequence[Damage],
    persistence: Persistence,
    paths: Mapping[str, bool | None],
) -> str:
    if klass == "none":
        return "No endpoint was damaged beyond 1 point of errors, or 20 % and 10 ms of p95."
    hit = sorted({damage.endpoint for damage in single(damages, "fault", "after") if damage.met})
    if klass == "unknown":
        return f"How far the damage went can't be told. {evidence['C1'].text}"
    apart = sorted(name for name in hit if paths.get(name) is False)
    parts = [f"Damaged: {', '.join(hit) or 'all endpoints together'}."]
    if apart:
        depend = "does not depend" if len(apart) == 1 else "do not depend"
        parts.append(f"Of these {', '.join(apart)} {depend} on what was broken.")
    elif klass == "cascading" and evidence["C1"].met:
        parts.append(evidence["C1"].text)
    elif klass == "cascading":
        parts.append("Retries multiplied the load while useful work collapsed.")
    elif klass == "contained":
        parts.append("All of it depends on what was broken.")
        if evidence["C2"].met and evidence["C4"].met is None:
            parts.append("Whether the retries made useful work collapse can't be told.")
    if klass == "metastable":
        parts.append(
            f"Still down {persistence.watched_s:.0f} s after the fault was gone, at a load that the baseline carried."
        )
    elif persistence.down:
        why = "but the baseline arm did not carry this load either"
        if persistence.watched_s < persistence.needed_s:
            why = f"too short to call it metastable, which takes {persistence.needed_s:.0f} s"
        if math.isinf(persistence.needed_s):
            why = "but the queues were getting shorter"
        parts.append(f"Still down when the record ended {persistence.watched_s:.0f} s after the fault was gone, {why}.")
    return " ".join(parts)
