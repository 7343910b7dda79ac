"""The words and signs for what a verdict can be: one place, so that every report says the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.analysis.verdict import CascadeClass, Comparison, Evidence, Outcome, Recovery, Verdict
from harness.report import numbers

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


def subject(comparison: Comparison) -> str:
    """What was compared, for people: `error rate, all endpoints`, `p95 response time of checkout`."""
    metric = comparison.metric
    names = {
        "error-rate": "error rate",
        "goodput": "goodput (useful answers per second)",
        "recovery": "time to recovery",
        "cascade": "how far the damage spread",
    }
    name = names.get(metric, f"{metric} response time" if metric[:1] == "p" and metric[1:2].isdigit() else metric)
    if metric in ("recovery", "cascade"):
        return name
    return f"{name} of {comparison.endpoint}" if comparison.endpoint else f"{name}, all endpoints"


def recovery(found: Recovery) -> str:
    """Whether and when the system was well again after the fault was gone, in words."""
    if found.recovered is None:
        return "can't be judged"
    took = "" if found.seconds is None else numbers.seconds(found.seconds)
    if found.recovered and not found.censored:
        return f"{took} after the fault was gone" if took else "recovered"
    return f"not recovered in the {took} watched" if took else "not recovered"
