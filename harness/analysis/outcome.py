"""The outcome, the exit code, and the sentence for whoever decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.analysis.damage import ERROR_POINTS, P95_INCREASE, P95_ON_TOP_MS
from harness.analysis.experiment import Experiment
from harness.analysis.verdict import Cascade, Comparison, EndpointSummary, Outcome, Recovery, Repeats, Stop, Validity
from harness.exits import Exit, most_severe
from harness.expectations import Expectation

_SPREADING = ("cascading", "metastable")


def decide(
    validity: Validity,
    aborted: bool,
    comparisons: Sequence[Comparison],
    cascade: Cascade,
    expectations: Iterable[Expectation],
) -> tuple[Outcome, Exit]:
    """The outcome of the run and what `harness` ends with (the most severe of all that apply).

    A cascading or metastable failure is code 3, and a failed run, unless an expectation names exactly that class.
    Without any expectation there is nothing that could pass.
    """
    allowed = {klass for expectation in expectations for klass in expectation.classes}
    unexpected = cascade.klass in _SPREADING and cascade.klass not in allowed
    outcomes = [comparison.outcome for comparison in comparisons]
    codes = [Exit.PASS]
    if not validity.valid:
        codes.append(Exit.INVALID)
    if aborted:
        codes.append(Exit.ABORTED)
    if unexpected:
        codes.append(Exit.CASCADE)
    if "fail" in outcomes:
        codes.append(Exit.FAIL)
    if not outcomes or "inconclusive" in outcomes:
        codes.append(Exit.INCONCLUSIVE)
    by_code: dict[Exit, Outcome] = {
        Exit.INVALID: "invalid",
        Exit.ABORTED: "aborted",
        Exit.CASCADE: "fail",
        Exit.FAIL: "fail",
        Exit.INCONCLUSIVE: "inconclusive",
        Exit.PASS: "pass",
    }
    code = most_severe(*codes)
    return by_code[code], code


def invalidated(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of an invalid run: their numbers stay to be looked at, their outcomes do not."""
    return tuple(replace(comparison, outcome="invalid") for comparison in comparisons)


def describe(
    outcome: Outcome,
    experiment: Experiment,
    cascade: Cascade,
    recovery: Recovery,
    endpoints: Sequence[EndpointSummary],
    validity: Validity,
    repeats: Repeats | None,
    stop: Stop | None,
) -> str:
    """What broke, how far it spread, whether it healed, in plain words; and what ended the run before its time."""
    told = _describe(outcome, experiment, cascade, recovery, endpoints, validity, repeats)
    return f"{told} {_stopped(stop)}" if stop is not None else told


def _describe(
    outcome: Outcome,
    experiment: Experiment,
    cascade: Cascade,
    recovery: Recovery,
    endpoints: Sequence[EndpointSummary],
    validity: Validity,
    repeats: Repeats | None,
) -> str:
    if outcome == "invalid":
        reasons = "; ".join(validity.reasons) or "the record marks it so"
        return f"The run says nothing about the system: {reasons}."
    window = experiment.window
    if experiment.fault is None:
        return f"{cascade.sentence} Resilience can't be judged without a fault arm."
    if experiment.problem or window is None:
        return f"Nothing can be said about the fault: {experiment.problem}."
    broken = " and ".join(window.components) or " and ".join(filter(None, window.faults)) or "the fault"
    parts = [f"With {broken} disturbed for {window.seconds:.1f} s, {_what_broke(endpoints)}."]
    if repeats is not None:
        parts[:0] = [repeats.sentence] + (["In the worst of them:"] if repeats.used > 1 else [])
    openings = {
        "none": "",
        "contained": "The damage stayed where a dependency explains it.",
        "cascading": "The damage cascaded.",
        "metastable": "The damage outlived the fault.",
        "unknown": "",
    }
    parts += [openings[cascade.klass], cascade.sentence]
    parts.append(_healed(cascade, recovery, window.cleared))
    return " ".join(part for part in parts if part)


def _stopped(stop: Stop) -> str:
    if stop.back_after_s is None:
        back = "not every fault was seen to be gone after that"
    elif stop.back_after_s == 0:
        back = "no fault was on"
    else:
        back = f"every fault was gone {stop.back_after_s:.1f} s later"
    why = f" ({stop.reason})" if stop.reason else ""
    return (
        f"An abort condition{why} ended the run {stop.at_s:.1f} s into {stop.arm or 'an arm'}, {back}; "
        "what was seen is what happened up to there."
    )


def _what_broke(endpoints: Sequence[EndpointSummary]) -> str:
    """The endpoints that failed more or became slower than without the fault, or how many requests failed in all."""
    worse = [text for endpoint in endpoints if (text := _failed_more(endpoint) or _slower(endpoint))]
    if worse:
        return ", ".join(worse)
    n = sum(endpoint.arrivals_fault for endpoint in endpoints)
    failed = sum(round((endpoint.error_rate_fault or 0.0) * endpoint.arrivals_fault) for endpoint in endpoints)
    return f"{failed} of {n} requests failed"


def _failed_more(endpoint: EndpointSummary) -> str:
    during, without = endpoint.error_rate_fault or 0.0, endpoint.error_rate_baseline or 0.0
    if during <= without + ERROR_POINTS:
        return ""
    return f"{during:.0%} of {endpoint.endpoint} requests failed ({without:.0%} without it)"


def _slower(endpoint: EndpointSummary) -> str:
    during, without = endpoint.p95_fault_ms, endpoint.p95_baseline_ms
    if during is None or without is None or during < max(without * (1 + P95_INCREASE), without + P95_ON_TOP_MS):
        return ""
    return f"p95 of {endpoint.endpoint} rose to {during:.0f} ms (from {without:.0f} ms)"


def _healed(cascade: Cascade, recovery: Recovery, cleared: bool) -> str:
    if not cleared:
        return "The fault was never confirmed cleared, so nothing can be said about recovery."
    if recovery.recovered is None:
        return "Too little was watched after the fault to say whether it healed."
    if recovery.recovered:
        if cascade.klass == "none" and not recovery.seconds:
            return ""
        return f"It was back to normal {recovery.seconds or 0.0:.0f} s after the fault was gone."
    return f"It was not back to normal in the {recovery.seconds or 0.0:.0f} s watched after the fault was gone."
