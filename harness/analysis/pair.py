"""One pair of arms judged: everything that can be said about it, from the record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.analysis import cascade as cascades
from harness.analysis.alone import judge_alone
from harness.analysis.arrivals import Arrivals, join_attempts
from harness.analysis.case import Case
from harness.analysis.cells import ALL, Pair
from harness.analysis.comparisons import Material, compare_all
from harness.analysis.criteria import judge_cascade
from harness.analysis.endpoints import summarise
from harness.analysis.experiment import Experiment
from harness.analysis.failures import count_failures
from harness.analysis.guard import guarded
from harness.analysis.impact import measure_impact
from harness.analysis.paths import has_path
from harness.analysis.recovery import UNKNOWN, Healing, measure_recovery
from harness.analysis.seconds import cut_seconds
from harness.analysis.table import contrasts, distributions, usual
from harness.analysis.verdict import (
    Cascade,
    Comparison,
    Composite,
    Contrast,
    Distribution,
    EndpointSummary,
    Failures,
    Impact,
    Recovery,
    Usual,
)
from harness.expectations import Expectation, ExpectationError

if TYPE_CHECKING:
    from harness.record.audit import AuditInfo
    from harness.record.reader import Record

Asked = tuple[str, Expectation | ExpectationError]
"""A sentence of `expect` in the scenario's words, and how it was read."""


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """What one pair of arms shows by itself; parts as in the `Verdict`."""

    experiment: Experiment
    cascade: Cascade
    comparisons: tuple[Comparison, ...]
    composite: Composite | None
    recovery: Recovery
    impact: Impact | None
    endpoints: tuple[EndpointSummary, ...]
    failures: tuple[Failures, ...]
    table: tuple[Contrast, ...]
    distributions: tuple[Distribution, ...]
    usual: tuple[Usual, ...]


def judge_pair(
    record: Record, experiment: Experiment, asked: Sequence[Asked], timeout_ns: int | None, seed: int
) -> PairVerdict:
    """Judge one pair. Pure; `seed` is that of the resampling, `timeout_ns` the client's timeout or None."""
    case = _prepare(record, experiment, timeout_ns)
    window = experiment.window
    healing, cascade = _heal(case), _unseen(record, case)
    if window is not None and not experiment.problem:
        cascade = guarded(
            lambda: judge_cascade(record, case, window, healing),
            lambda why: cascades.unknown(f"How far the damage went can't be told: {why}."),
        )
    nothing = experiment.problem != ""
    failures = {} if nothing else _failures(record, case)
    comparisons, composite = compare_all(asked, _material(record.audit, case, asked, cascade, healing, failures), seed)
    return PairVerdict(
        experiment=experiment,
        cascade=cascade,
        comparisons=comparisons,
        composite=composite,
        recovery=healing.recovery,
        impact=None if nothing else guarded(lambda: measure_impact(case.pairs, case.seconds), lambda _: None),
        endpoints=summarise(case.pairs, case.seconds, window, case.fault, case.paths),
        failures=tuple(failures.values()),
        table=() if nothing else guarded(lambda: contrasts(case.pairs, case.seconds, experiment), lambda _: ()),
        distributions=() if nothing else guarded(lambda: distributions(case.pairs, case.seconds, seed), lambda _: ()),
        usual=guarded(lambda: usual(case.pairs), lambda _: ()),
    )


def _prepare(record: Record, experiment: Experiment, timeout_ns: int | None) -> Case:
    baseline, fault = (_arrivals(record, name, timeout_ns) for name in (experiment.baseline, experiment.fault))
    case = Case(experiment, timeout_ns, cut_seconds(experiment), baseline, fault, {}, {})
    pairs = case.count(baseline, fault)
    faulted = experiment.window.components if experiment.window is not None else ()
    declared = record.info.target.dependencies, record.info.target.component_dependencies
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
    return guarded(lambda: measure_recovery(case.pairs, case.seconds), lambda _: unknown)


def _unseen(record: Record, case: Case) -> Cascade:
    """The class where no fault was seen: that of the load alone when none was meant to be, else unknown."""
    planned = record.info.faults or record.info.scenario.get("faults")
    tried = any(event.kind.startswith("fault.") for event in record.events)
    if case.experiment.fault is None or not (planned or tried):
        return judge_alone(case.baseline, case.experiment.warm_up_ns)
    return cascades.unknown(f"How far the damage went can't be told: {case.experiment.problem}.")


def _failures(record: Record, case: Case) -> Mapping[str, Failures]:
    """From the moment on in which the first fault was begun, which is before its effect was seen."""
    window, fault = case.experiment.window, case.experiment.fault
    assert window is not None, "without a window there is nothing to compare"
    begun_ns = [event.t_ns for event in record.events if event.arm == fault and event.kind == "fault.requested"]
    return count_failures(case.baseline, case.fault, min([window.active_ns, *begun_ns]), case.experiment.watched_to_ns)


def _material(
    audit: AuditInfo | None,
    case: Case,
    asked: Sequence[Asked],
    cascade: Cascade,
    healing: Healing,
    failures: Mapping[str, Failures],
) -> Material:
    successes: Mapping[str, Pair] = {}
    if any(isinstance(found, Expectation) and found.successes_only for _, found in asked):
        successes = case.count(case.baseline.only(~case.baseline.failed), case.fault.only(~case.fault.failed))
    window = case.experiment.window
    return Material(
        pairs=case.pairs,
        successes=successes,
        seconds=case.seconds,
        cascade=cascade,
        healing=healing,
        problem=case.experiment.problem,
        missing=window.missing if window is not None else (),
        faults=window.faults if window is not None else (),
        failures=failures,
        audit=audit.arms if audit is not None else {},
        baseline=case.experiment.baseline,
        fault=case.experiment.fault,
    )
