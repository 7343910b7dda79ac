"""From a run record to its verdict: named checks over the record, composed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from harness.analysis import cascade as cascades
from harness.analysis.alone import judge_alone
from harness.analysis.arrivals import Arrivals, client_timeout_ns, join_attempts
from harness.analysis.case import Case
from harness.analysis.cells import ALL, Pair
from harness.analysis.comparisons import Material, compare, undecided
from harness.analysis.criteria import judge_cascade
from harness.analysis.endpoints import summarise
from harness.analysis.experiment import find_experiment
from harness.analysis.outcome import decide, describe, invalidated
from harness.analysis.paths import has_path
from harness.analysis.recovery import UNKNOWN, Healing, measure_recovery
from harness.analysis.seconds import cut_seconds
from harness.analysis.verdict import Cascade, Comparison, Validity, Verdict
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
            lambda: judge_cascade(record, case, window, healing),
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


def _prepare(record: Record) -> Case:
    info = record.info
    timeout_ns = client_timeout_ns(info.scenario, [record.arm(arm.name) for arm in info.arms])
    experiment = find_experiment(record, timeout_ns)
    baseline, fault = (_arrivals(record, name, timeout_ns) for name in (experiment.baseline, experiment.fault))
    case = Case(experiment, timeout_ns, cut_seconds(experiment), baseline, fault, {}, {})
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


def _heal(case: Case) -> Healing:
    unknown = Healing(UNKNOWN, 0, 0)
    window = case.experiment.window
    if window is None or not window.cleared or case.experiment.problem:
        return unknown
    return _guard(lambda: measure_recovery(case.pairs, case.seconds), lambda _: unknown)


def _unseen(record: Record, case: Case) -> Cascade:
    """The class where no fault was seen: that of the load alone when none was meant to be, else unknown."""
    planned = record.info.faults or record.info.scenario.get("faults")
    tried = any(event.kind.startswith("fault.") for event in record.events)
    if case.experiment.fault is None or not (planned or tried):
        return judge_alone(case.baseline, case.experiment.warm_up_ns)
    return cascades.unknown(f"How far the damage went can't be told: {case.experiment.problem}.")


def _hold(
    texts: tuple[str, ...], case: Case, cascade: Cascade, healing: Healing
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
