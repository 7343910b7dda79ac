"""The words and signs for what a verdict can be: one place, so that every report says the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.analysis.verdict import (
    AuditedArm,
    CascadeClass,
    Comparison,
    Contrast,
    Evidence,
    Impact,
    Interval,
    Outcome,
    Recovery,
    Verdict,
)
from harness.report import numbers

SURE = 0.05
"""An adjusted p-value at which a row of the full table counts as changed."""

_STEPS = 4
Tone = Literal["good", "bad", "warn", "neutral"]


@dataclass(frozen=True, slots=True)
class Sign:
    """How an outcome looks: never by colour alone, so always an icon and a word as well."""

    icon: str
    word: str
    tone: Tone
    meaning: str


OUTCOMES: dict[Outcome, Sign] = {
    "pass": Sign("✓", "Pass", "good", "Every expectation held."),
    "fail": Sign("✗", "Fail", "bad", "At least one expectation did not hold."),
    "inconclusive": Sign("?", "Inconclusive", "warn", "The data cannot decide; more time or more repeats would."),
    "invalid": Sign("!", "Invalid", "neutral", "The run was disturbed and says nothing about the system."),
    "aborted": Sign("■", "Aborted", "warn", "An abort condition ended the run before its time."),
}

CLASSES: dict[CascadeClass, Sign] = {
    "none": Sign("✓", "None", "good", "Nothing broke beyond its margin."),
    "contained": Sign("✓", "Contained", "good", "Damage stayed where a dependency explains it, and went away."),
    "cascading": Sign("✗", "Cascading", "bad", "Damage spread to parts that do not depend on what was broken."),
    "metastable": Sign("✗", "Metastable", "bad", "The fault was gone and the damage stayed: it keeps itself alive."),
    "unknown": Sign("?", "Unknown", "warn", "The record does not let us tell how far the damage went."),
}

CRITERIA: dict[str, str] = {
    "C1": "Spread to parts without a declared path",
    "C2": "Retries amplify the load",
    "C3": "Still down after the fault was gone",
    "C4": "Useful work collapses while the system is busy",
    "C5": "Order in which parts went down",
    "C6": "Only shedding all load ends it",
    "share": "More failed than the fault could touch",
}

PHASES: dict[str, str] = {"fault": "while the fault was on", "after": "after the fault was gone"}


def headline(verdict: Verdict) -> Sign:
    """The sign at the top: the outcome's own, but the cascade class gives the word when damage spread or stayed."""
    sign = OUTCOMES[verdict.outcome]
    klass = verdict.cascade.klass
    if klass not in ("cascading", "metastable"):
        return sign
    if verdict.outcome == "pass":
        return Sign(sign.icon, f"{sign.word}: {klass} failure, as expected", "warn", CLASSES[klass].meaning)
    if verdict.outcome in ("fail", "inconclusive"):
        return Sign(sign.icon, f"{sign.word}: {klass} failure", "bad", CLASSES[klass].meaning)
    return sign


def split(text: str) -> tuple[str, str]:
    """The first sentence, and the rest."""
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text.strip(), maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def held(verdict: Verdict) -> str:
    """How many expectations held, in words: `2 of 4 expectations held, 1 undecided`."""
    outcomes = [comparison.outcome for comparison in verdict.comparisons]
    if not outcomes:
        return "the scenario states no expectation"
    passed, undecided = outcomes.count("pass"), len(outcomes) - outcomes.count("pass") - outcomes.count("fail")
    noun = "expectation" if len(outcomes) == 1 else "expectations"
    text = f"{passed} of {len(outcomes)} {noun} held"
    return text + (f", {undecided} undecided" if undecided else "")


def extent(verdict: Verdict) -> str:
    """How far the damage went: the cascade's own sentence, or its class's meaning where the verdict has it already."""
    own = verdict.cascade.sentence
    return own if own and own not in verdict.sentence else CLASSES[verdict.cascade.klass].meaning


def criterion(evidence: Evidence) -> str:
    """What a criterion of the cascade classification asks, in words."""
    return CRITERIA.get(evidence.criterion, evidence.criterion)


def met(evidence: Evidence) -> Sign:
    """Whether a criterion of damage is met: meeting one is the bad case; an order (C5) is neither good nor bad."""
    if evidence.met is None:
        return Sign("?", "can't be judged", "warn", "")
    if evidence.criterion == "C5":
        return Sign("→", "yes", "neutral", "") if evidence.met else Sign("=", "no, a tie", "neutral", "")
    return Sign("✗", "yes", "bad", "") if evidence.met else Sign("✓", "no", "good", "")


def repeats(verdict: Verdict) -> list[str]:
    """What repeated pairs of runs say together, and each pair that was left out; nothing for a single pair."""
    found = verdict.repeats
    if found is None:
        return []
    classes = ", ".join(f"{name} in {count}" for name, count in found.classes.items())
    lines = [f"of {found.used} pairs of runs: {classes}"] if classes else []
    return lines + [f"left out: {pair.baseline} and {pair.fault}: {pair.why}" for pair in found.pairs if not pair.used]


def together(verdict: Verdict) -> str:
    """The primary question: whether anything that is bounded went beyond its margin; "" where that says nothing new."""
    found = verdict.composite
    if found is None or found.p is None or len(found.expectations) < 2:
        return ""
    beyond = "something is" if found.p <= found.alpha else "nothing is surely"
    flips = "" if found.p_sign_flips is None else f", by sign flips {numbers.number(found.p_sign_flips)}"
    return (
        f"of {len(found.expectations)} expectations on numbers, {beyond} beyond its margin "
        f"(p {numbers.p_value(found.p)}{flips}; {numbers.number(found.alpha * 100)} % is the limit)"
    )


def changed(verdict: Verdict) -> list[Contrast]:
    """Rows of the full table that changed for sure while the fault was on or after it, the largest change first."""
    sure = [row for row in verdict.table if row.p_adjusted is not None and row.p_adjusted <= SURE]
    return sorted(sure, key=lambda row: (-abs(row.difference or 0.0), row.endpoint, row.metric, row.phase))


def changes(verdict: Verdict) -> str:
    """How much of the full table changed for sure, in words; "" without a table."""
    looked_at = [row for row in verdict.table if row.p_adjusted is not None]
    if not looked_at:
        return ""
    count = len(changed(verdict))
    noun = "number" if len(looked_at) == 1 else "numbers"
    return (
        f"{count} of {len(looked_at)} {noun} (endpoint, metric, during or after the fault) changed for sure, "
        "corrected for so many looks (Holm)"
    )


def failures(verdict: Verdict) -> str:
    """How many requests failed from the fault's beginning on, and where most of them; "" where nothing was counted."""
    if not verdict.failures:
        return ""
    everything, *endpoints = verdict.failures
    told = (
        f"{numbers.whole(everything.failed_fault)} of {numbers.whole(everything.arrivals_fault)} requests failed "
        f"from the fault's beginning on ({numbers.whole(everything.failed_baseline)} of "
        f"{numbers.whole(everything.arrivals_baseline)} in the same time without it)"
    )
    worst = sorted((one for one in endpoints if one.failed_fault), key=lambda one: (-one.failed_fault, one.endpoint))
    listed = ", ".join(f"{one.endpoint} {numbers.whole(one.failed_fault)}" for one in worst[:_STEPS])
    more = f" and {len(worst) - _STEPS} more endpoints" if len(worst) > _STEPS else ""
    return f"{told}: {listed}{more}" if listed else told


def subject(comparison: Comparison | Contrast) -> str:
    """What was compared, for people: `error rate, all endpoints`, `p95 response time of checkout`."""
    return subject_of(comparison.metric, comparison.endpoint)


def subject_of(metric: str, endpoint: str) -> str:
    """A metric of an endpoint ("" for all together), for people."""
    names = {
        "error-rate": "error rate",
        "goodput": "goodput (useful answers per second)",
        "attempts": "attempts per request",
        "failures": "failed requests",
        "recovery": "time to recovery",
        "cascade": "how far the damage spread",
        "audit": "acknowledged writes lost or doubled",
    }
    name = names.get(metric, f"{metric} response time" if metric[:1] == "p" and metric[1:2].isdigit() else metric)
    if metric in ("recovery", "cascade", "audit"):
        return name
    return f"{name} of {endpoint}" if endpoint else f"{name}, all endpoints"


def recovery(found: Recovery) -> str:
    """Whether and when the system was well again after the fault was gone, in words."""
    if found.recovered is None:
        return "can't be judged"
    took = "" if found.seconds is None else numbers.seconds(found.seconds)
    if found.recovered and not found.censored:
        return f"{took} after the fault was gone{_between(found.interval)}" if took else "recovered"
    return f"not recovered in the {took} watched" if took else "not recovered"


def impact(found: Impact | None) -> str:
    """What share of the requests was hit at most, and for how long; "" where nothing was watched."""
    if found is None:
        return ""
    if not found.share:
        return "no second differs from the baseline's"
    until = f", until {numbers.seconds(found.until_s)} after the fault began" if found.until_s > found.seconds else ""
    return f"at most {numbers.about(found.share)} of requests, for {numbers.seconds(found.seconds)}{until}"


def _between(interval: Interval) -> str:
    if interval.low is None or interval.low == interval.high:
        return ""
    if interval.high is None:
        return f" ({numbers.seconds(interval.low)} at least)"
    return f" ({numbers.seconds(interval.low)} to {numbers.seconds(interval.high)})"


def audit(verdict: Verdict) -> list[str]:
    """What became of acknowledged writes, arm by arm."""
    return [f"{one.arm}: {_looked_up(one)}" for one in verdict.audit]


def _looked_up(one: AuditedArm) -> str:
    if one.problem:
        return f"{numbers.whole(one.acknowledged)} acknowledged, not looked up: {one.problem}"
    others = (
        "" if one.unacknowledged is None else f"; {numbers.whole(one.unacknowledged)} there that nobody was told of"
    )
    wrong = f"{numbers.whole(one.missing)} missing, {numbers.whole(one.doubled)} doubled"
    return f"{numbers.whole(one.acknowledged)} acknowledged, {wrong}{others}"


def order(verdict: Verdict) -> str:
    """What was hit before what, for a line of text; nothing when nothing was."""
    cascade = verdict.cascade
    steps = [f"{step.before} before {step.after}" for step in cascade.path]
    told = "; ".join(steps[:_STEPS]) if steps else ", ".join(cascade.chain[:_STEPS])
    more = max(0, len(steps or cascade.chain) - _STEPS)
    return ("" if steps or not told else "can't be told apart: ") + told + (f" and {more} more" if more else "")
