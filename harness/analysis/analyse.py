"""From a run record to its verdict: every pair of arms judged by itself, then what they say together."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.analysis.arrivals import client_timeout_ns
from harness.analysis.audit import audited_arms, lost_sentence
from harness.analysis.experiment import find_experiments, pairs_of
from harness.analysis.factorial import load_and_fault
from harness.analysis.fault_times import fault_times, find_stop
from harness.analysis.outcome import decide, describe, invalidated
from harness.analysis.pair import PairVerdict, judge_pair
from harness.analysis.repeats import together
from harness.analysis.table import adjusted
from harness.analysis.trust import assess
from harness.analysis.verdict import Verdict
from harness.expectations import Expectation, ExpectationError, parse

if TYPE_CHECKING:
    from harness.record.reader import Record


def analyse(record: Record) -> Verdict:
    """What a run showed. Pure: the same record gives the same verdict, to the last digit."""
    info = record.info
    timeout_ns = client_timeout_ns(info.scenario, [record.arm(arm.name) for arm in info.arms])
    asked = [(text, _parse(text)) for text in info.expect]
    seed = zlib.crc32(info.run_id.encode())
    judged = [
        judge_pair(record, experiment, asked, timeout_ns, seed) for experiment in find_experiments(record, timeout_ns)
    ]
    trust = assess(record, [pair.experiment for pair in judged])
    without_spike = [
        judge_pair(record, experiment, (), timeout_ns, seed) for experiment in pairs_of(record, timeout_ns, "expected")
    ]
    found = together(judged, trust, asked)
    cascade, comparisons = found.cascade, found.comparisons
    if not trust.validity.valid:
        comparisons = invalidated(comparisons)
        cascade = replace(cascade, klass="unknown", sentence=f"The run is invalid. {cascade.sentence}")
    shown = found.shown
    expectations = tuple(expectation for _, expectation in asked if isinstance(expectation, Expectation))
    stop = find_stop(record)
    outcome, code = decide(trust.validity, shown.experiment.aborted, comparisons, cascade, expectations)
    told = describe(
        outcome, shown.experiment, cascade, found.recovery, shown.endpoints, trust.validity, found.repeats, stop
    )
    audit = audited_arms(record.audit)
    lost = f" {lost}" if (lost := lost_sentence(audit, shown.experiment.fault)) and trust.validity.valid else ""
    return Verdict(
        run_id=info.run_id,
        scenario=info.name,
        variant=info.variant,
        hypothesis=info.hypothesis,
        outcome=outcome,
        exit_code=code,
        sentence=f"{'In simulation: ' if info.simulated else ''}{told}{lost}",
        cascade=cascade,
        comparisons=comparisons,
        recovery=found.recovery,
        endpoints=shown.endpoints,
        validity=trust.validity,
        composite=found.composite,
        table=adjusted(found.table),
        distributions=shown.distributions,
        usual=shown.usual,
        repeats=found.repeats,
        failures=shown.failures,
        fault_times=fault_times(record),
        stop=stop,
        impact=shown.impact,
        audit=audit,
        load_and_fault=load_and_fault(_usable(record, judged), _usable(record, without_spike)),
    )


def _usable(record: Record, pairs: Sequence[PairVerdict]) -> dict[int, PairVerdict]:
    """The pairs that nothing speaks against, by the number of their repeat (counted where the record has none)."""
    left_out = assess(record, [pair.experiment for pair in pairs]).left_out
    numbers = {arm.name: arm.pair for arm in record.info.arms}
    return {
        numbers.get(pair.experiment.fault or "") or count: pair
        for count, (pair, why) in enumerate(zip(pairs, left_out, strict=True), start=1)
        if not why and not pair.experiment.problem
    }


def _parse(text: str) -> Expectation | ExpectationError:
    try:
        return parse(text)
    except ExpectationError as error:
        return error
