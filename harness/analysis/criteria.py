"""All criteria of the cascade classification, judged on one pair of arms and put together to the class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis import tiers
from harness.analysis.amplification import judge_amplification, measure_factors
from harness.analysis.cascade import Persistence, classify, judge_persistence, measure_persistence
from harness.analysis.case import Case
from harness.analysis.cells import count_pairs
from harness.analysis.damage import Damage, assess, stretches
from harness.analysis.disproportion import judge_disproportion
from harness.analysis.drain import needed_s
from harness.analysis.experiment import Window
from harness.analysis.hysteresis import judge_hysteresis, watch_queues
from harness.analysis.onsets import find_onsets
from harness.analysis.paths import tier_has_path
from harness.analysis.propagation import find_chain, find_path, judge_order
from harness.analysis.recovery import Healing, measure_recovery
from harness.analysis.saturation import judge_collapse
from harness.analysis.seconds import cut_return
from harness.analysis.spread import assess_tiers, judge_spread
from harness.analysis.verdict import Cascade, Evidence, Hysteresis

if TYPE_CHECKING:
    from harness.record.reader import Record


def judge_cascade(record: Record, case: Case, window: Window, healing: Healing) -> Cascade:
    """The class of a pair with both arms and a confirmed fault, with its evidence. Pure."""
    damages = assess(case.pairs, case.seconds)
    loads = tiers.read_loads(record.telemetry, case.arms[1])
    waits = tiers.read_waits(record.telemetry, case.arms[1], window.active_ns)
    located = find_onsets(case.pairs, damages, loads, waits, case.seconds, window, case.timeout_ns)
    onsets, path, chain = tuple(one.onset for one in located), find_path(located), find_chain(located)
    factors = measure_factors(record, case.arms, case.pairs, case.seconds)
    persistence = measure_persistence(
        case.experiment, window, case.pairs, case.seconds, damages, healing, needed_s(record, case, window)
    )
    shed, hysteresis = _shed(record, case, _still_down(persistence, healing))
    evidence = {
        "C1": _spread(record, case, window, damages),
        "C2": judge_amplification(factors),
        "C3": judge_persistence(healing, persistence),
        "C4": judge_collapse(record.telemetry, case.arms[1], case.pairs, case.seconds, loads, onsets, chain),
        "C5": judge_order(located, path),
        "C6": shed,
        "share": judge_disproportion(case.pairs, case.paths, case.seconds),
    }
    klass, sentence = classify(evidence, damages, persistence, case.paths, hysteresis)
    return Cascade(
        klass=klass,
        sentence=sentence,
        evidence=tuple(evidence.values()),
        onsets=onsets,
        factors=tuple(factor for factor, _ in factors),
        chain=chain,
        path=path,
        hysteresis=hysteresis if klass == "metastable" else "",
    )


def _spread(record: Record, case: Case, window: Window, damages: tuple[Damage, ...]) -> Evidence:
    edges_ns = case.seconds.edges_ns
    spans = [
        (int(edges_ns[bins.start]), int(edges_ns[bins.stop]))
        for name, bins in stretches(case.seconds).items()
        if name != "tail"
    ]
    hit = assess_tiers(record.telemetry, case.arms, spans)
    target = record.info.target
    declared = window.components, target.dependencies, target.component_dependencies
    return judge_spread(damages, case.paths, hit, {one.tier: tier_has_path(one.tier, *declared) for one in hit})


def _still_down(persistence: Persistence, healing: Healing) -> bool | None:
    """Whether something was down at the end of what was watched at the same load."""
    if persistence.down:
        return True
    return False if healing.recovery.recovered else None


def _shed(record: Record, case: Case, still_down: bool | None) -> tuple[Evidence, Hysteresis]:
    """Whether shedding all load ended what was still down."""
    shedding, seconds = case.experiment.shedding, cut_return(case.experiment)
    if shedding is None or seconds is None:
        return judge_hysteresis(still_down, None, None, None)
    back = count_pairs(case.baseline, case.fault, seconds, (), (), case.timeout_ns)
    queues = watch_queues(record.telemetry, case.arms, shedding)
    return judge_hysteresis(still_down, shedding, queues, measure_recovery(back, seconds, case.pairs))
