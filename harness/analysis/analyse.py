"""From a run record to its verdict: named checks over the record, composed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from harness.analysis import cascade as cascades
from harness.analysis import tiers
from harness.analysis.alone import judge_alone
from harness.analysis.amplification import judge_amplification
from harness.analysis.arrivals import Arrivals, client_timeout_ns, join_attempts
from harness.analysis.cells import ALL, Pair, count_pairs
from harness.analysis.comparisons import Material, compare, undecided
from harness.analysis.damage import assess
from harness.analysis.endpoints import summarise
from harness.analysis.experiment import Experiment, Window, find_experiment
from harness.analysis.hysteresis import judge_hysteresis, watch_queues
from harness.analysis.onsets import find_onsets, order_evidence
from harness.analysis.outcome import decide, describe, invalidated
from harness.analysis.paths import has_path
from harness.analysis.recovery import UNKNOWN, Healing, measure_recovery
from harness.analysis.saturation import judge_collapse
from harness.analysis.seconds import Seconds, cut_return, cut_seconds, undisturbed
from harness.analysis.verdict import Cascade, Comparison, Evidence, Hysteresis, Validity, Verdict
from harness.expectations import Expectation, ExpectationError, parse

if TYPE_CHECKING:
    from harness.record.reader import Record

_Result = TypeVar("_Result")

CHECK_FAILURES = (ArithmeticError, ValueError, LookupError, AssertionError)
"""What a check may raise on data that nobody thought of. It is then inconclusive with the reason, never passed, and the
other checks go on. Anything else is a mistake in the program and is not caught."""


def analyse(record: Record) -> Verdict:
    """What a run showed. Pure: the same record gives the same verdict, to the last digit."""
    info = record.info
    case = _prepare(record)
    healing, cascade = _heal(case), _unseen(record, case)
    window = case.experiment.window
    if window is not None and not case.experiment.problem:
        cascade = _guard(
            lambda: _judge(record, case, window, healing),
            lambda why: cascades.unknown(f"How far the damage went can't be told: {why}."),
        )
    expectations, comparisons = _hold(info.expect, case, cascade, healing)
    validity = Validity(info.validity.valid, tuple(info.validity.reasons))
    if not validity.valid:
        comparisons = invalidated(comparisons)
        cascade = replace(cascade, klass="unknown", sentence=f"The run is invalid. {cascade.sentence}")
    endpoints = summarise(case.pairs, case.seconds, window, case.fault, case.paths)
    outcome, code = decide(validity, case.experiment.aborted, comparisons, cascade, expectations)
    return Verdict(
        run_id=info.run_id,
        scenario=info.name,
        variant=info.variant,
        hypothesis=info.hypothesis,
        outcome=outcome,
        exit_code=code,
        sentence=describe(outcome, case.experiment, cascade, healing.recovery, endpoints, validity),
        cascade=cascade,
        comparisons=comparisons,
        recovery=healing.recovery,
        endpoints=endpoints,
        validity=validity,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A record prepared for the checks: the arms' arrivals, counted per endpoint over common seconds."""

    experiment: Experiment
    timeout_ns: int | None
    seconds: Seconds
    baseline: Arrivals
    fault: Arrivals
    pairs: Mapping[str, Pair]
    paths: Mapping[str, bool | None]

    def count(self, baseline: Arrivals, fault: Arrivals) -> Mapping[str, Pair]:
        """Those arrivals counted over the case's seconds."""
        calm = undisturbed(self.seconds, self.experiment, "baseline", self.timeout_ns)
        before = undisturbed(self.seconds, self.experiment, "fault", self.timeout_ns)
        return count_pairs(baseline, fault, self.seconds, calm, before, self.timeout_ns)


def _prepare(record: Record) -> _Case:
    info = record.info
    timeout_ns = client_timeout_ns(info.scenario, [record.arm(arm.name) for arm in info.arms])
    experiment = find_experiment(record, timeout_ns)
    baseline, fault = (_arrivals(record, name, timeout_ns) for name in (experiment.baseline, experiment.fault))
    case = _Case(experiment, timeout_ns, cut_seconds(experiment), baseline, fault, {}, {})
    pairs = case.count(baseline, fault)
    faulted = experiment.window.components if experiment.window is not None else ()
    declared = info.target.dependencies, info.target.component_dependencies
    paths = {name: has_path(name, faulted, *declared) for name in pairs if name != ALL}
    return replace(case, pairs=pairs, paths=paths)


def _arrivals(record: Record, arm: str | None, timeout_ns: int | None) -> Arrivals:
    """The arrivals of an arm; of an arm that the record does not have, none."""
    if arm is not None:
        return join_attempts(record.arm(arm), timeout_ns)
    other = join_attempts(record.arm(record.info.arms[0].name), timeout_ns)
    return other.only(other.failed & ~other.failed)


def _heal(case: _Case) -> Healing:
    unknown = Healing(UNKNOWN, 0, 0)
    window = case.experiment.window
    if window is None or not window.cleared or case.experiment.problem:
        return unknown
    return _guard(lambda: measure_recovery(case.pairs, case.seconds), lambda _: unknown)


def _judge(record: Record, case: _Case, window: Window, healing: Healing) -> Cascade:
    """The criteria and the class of a record with both arms and a confirmed fault."""
    baseline, fault = str(case.experiment.baseline), str(case.experiment.fault)
    damages = assess(case.pairs, case.seconds)
    loads = tiers.read_loads(record.telemetry, fault)
    onsets = find_onsets(case.pairs, damages, loads, case.seconds, window, case.timeout_ns)
    after = case.seconds.after
    after_s = case.seconds.length_s(after)
    arrived = int(case.pairs[ALL].baseline.arrivals[after].sum())
    drain_s = tiers.drain_s(
        tiers.read_loads(record.telemetry, baseline),
        (window.clear_ns, case.experiment.end_ns),
        arrived / after_s if after_s else 0.0,
        tiers.waiting(record.telemetry, fault, window.clear_ns),
    )
    persistence = cascades.measure_persistence(
        case.experiment, window, case.pairs, case.seconds, damages, healing, drain_s
    )
    shed, hysteresis = _shed(record, case, persistence)
    evidence = {
        "C1": cascades.judge_spread(damages, case.paths),
        "C2": judge_amplification(record, (baseline, fault), case.pairs, case.seconds),
        "C3": cascades.judge_persistence(healing, persistence),
        "C4": judge_collapse(case.pairs, case.seconds, loads, onsets),
        "C5": order_evidence(onsets),
        "C6": shed,
    }
    return cascades.classify(evidence, damages, persistence, case.paths, onsets, hysteresis)


def _shed(record: Record, case: _Case, persistence: cascades.Persistence) -> tuple[Evidence, Hysteresis]:
    """Whether shedding all load ended what was still down."""
    shedding, seconds = case.experiment.shedding, cut_return(case.experiment)
    if shedding is None or seconds is None:
        return judge_hysteresis(bool(persistence.down), None, None, None)
    arms = str(case.experiment.baseline), str(case.experiment.fault)
    back = count_pairs(case.baseline, case.fault, seconds, (), (), case.timeout_ns)
    returned = measure_recovery(back, seconds, case.pairs)
    queues = watch_queues(record.telemetry, arms, shedding)
    return judge_hysteresis(bool(persistence.down), shedding, queues, returned)


def _unseen(record: Record, case: _Case) -> Cascade:
    """The class where no fault was seen: that of the load alone when none was meant to be, else unknown."""
    planned = record.info.faults or record.info.scenario.get("faults")
    tried = any(event.kind.startswith("fault.") for event in record.events)
    if case.experiment.fault is None or not (planned or tried):
        return judge_alone(case.baseline, case.experiment.warm_up_ns)
    return cascades.unknown(f"How far the damage went can't be told: {case.experiment.problem}.")


def _hold(
    texts: tuple[str, ...], case: _Case, cascade: Cascade, healing: Healing
) -> tuple[tuple[Expectation, ...], tuple[Comparison, ...]]:
    """Every expectation of the scenario held against the record; one that can't be read is inconclusive."""
    read = [_parse(text) for text in texts]
    expectations = tuple(found for found in read if isinstance(found, Expectation))
    successes: Mapping[str, Pair] = {}
    if any(expectation.successes_only for expectation in expectations):
        successes = case.count(case.baseline.only(~case.baseline.failed), case.fault.only(~case.fault.failed))
    window = case.experiment.window
    material = Material(
        pairs=case.pairs,
        successes=successes,
        seconds=case.seconds,
        cascade=cascade,
        healing=healing,
        problem=case.experiment.problem,
        missing=window.missing if window is not None else (),
    )
    comparisons = [
        undecided(text, None, str(found)) if isinstance(found, ExpectationError) else _compare(text, found, material)
        for text, found in zip(texts, read, strict=True)
    ]
    return expectations, tuple(comparisons)


def _compare(text: str, expectation: Expectation, material: Material) -> Comparison:
    return _guard(lambda: compare(text, expectation, material), lambda why: undecided(text, expectation, why))


def _parse(text: str) -> Expectation | ExpectationError:
    try:
        return parse(text)
    except ExpectationError as error:
        return error


def _guard(check: Callable[[], _Result], otherwise: Callable[[str], _Result]) -> _Result:
    """The check's result, or, when the data made it fail, what `otherwise` makes of the reason."""
    try:
        return check()
    except CHECK_FAILURES as error:
        return otherwise(f"the check could not be computed on this record ({type(error).__name__}: {error})")
