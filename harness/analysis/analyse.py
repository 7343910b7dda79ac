"""From a run record to its verdict: every pair of arms judged by itself, then what they say together."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.analysis.arrivals import client_timeout_ns
from harness.analysis.experiment import find_experiments
from harness.analysis.outcome import decide, describe, invalidated
from harness.analysis.pair import judge_pair
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
    found = together(judged, trust, asked)
    cascade, comparisons = found.cascade, found.comparisons
    if not trust.validity.valid:
        comparisons = invalidated(comparisons)
        cascade = replace(cascade, klass="unknown", sentence=f"The run is invalid. {cascade.sentence}")
    shown = found.shown
    expectations = tuple(expectation for _, expectation in asked if isinstance(expectation, Expectation))
    outcome, code = decide(trust.validity, shown.experiment.aborted, comparisons, cascade, expectations)
    return Verdict(
        run_id=info.run_id,
        scenario=info.name,
        variant=info.variant,
        hypothesis=info.hypothesis,
        outcome=outcome,
        exit_code=code,
        sentence=("In simulation: " if info.simulated else "")
        + describe(outcome, shown.experiment, cascade, found.recovery, shown.endpoints, trust.validity, found.repeats),
        cascade=cascade,
        comparisons=comparisons,
        recovery=found.recovery,
        endpoints=shown.endpoints,
        validity=trust.validity,
        composite=found.composite,
        table=adjusted(found.table, found.composite),
        distributions=shown.distributions,
        usual=shown.usual,
        repeats=found.repeats,
    )


def _parse(text: str) -> Expectation | ExpectationError:
    try:
        return parse(text)
    except ExpectationError as error:
        return error
