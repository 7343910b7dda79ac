"""What the pairs of a repeated run say together. The run is the unit: a claim about the system, not about one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.over_pairs import Question, combined_rows, hold
from harness.analysis.pair import Asked, PairVerdict
from harness.analysis.recovery import over_repeats
from harness.analysis.trust import Trust
from harness.analysis.verdict import (
    Cascade,
    CascadeClass,
    Comparison,
    Composite,
    Contrast,
    Outcome,
    PairSummary,
    Recovery,
    Repeats,
)
from harness.expectations import Expectation

_SEVERITY: tuple[CascadeClass, ...] = ("none", "contained", "unknown", "cascading", "metastable")


@dataclass(frozen=True, slots=True)
class Together:
    """What the verdict is made of. `shown`: the pair whose endpoints, onsets and evidence stand for all of them.

    `repeats` is None for a record with one pair, where everything is that pair's own.
    """

    shown: PairVerdict
    cascade: Cascade
    comparisons: tuple[Comparison, ...]
    composite: Composite | None
    recovery: Recovery
    table: tuple[Contrast, ...]
    repeats: Repeats | None


def together(judged: Sequence[PairVerdict], trust: Trust, asked: Sequence[Asked]) -> Together:
    """One pair speaks for itself; several together, those that are left out apart."""
    used = [pair for pair, why in zip(judged, trust.left_out, strict=True) if not why]
    shown = max(used or judged[:1], key=_damage)
    repeats = _summarise(judged, trust, len(used)) if len(judged) > 1 else None
    if len(used) < 2:
        own = (shown.cascade, shown.comparisons, shown.composite, shown.recovery, shown.table)
        return Together(shown, *own, repeats)
    comparisons, composite = _compare(used, asked, shown)
    return Together(
        shown=shown,
        cascade=replace(shown.cascade, sentence=f"{_share_of(shown, used)}. {shown.cascade.sentence}"),
        comparisons=comparisons,
        composite=composite,
        recovery=over_repeats([pair.recovery for pair in used]),
        table=combined_rows([pair.table for pair in used]),
        repeats=repeats,
    )


def _damage(pair: PairVerdict) -> tuple[int, float]:
    """How bad a pair is: its class, then how long it was down."""
    return _SEVERITY.index(pair.cascade.klass), pair.recovery.seconds or 0.0


def _share_of(worst: PairVerdict, used: Sequence[PairVerdict]) -> str:
    klass = worst.cascade.klass
    same = sum(pair.cascade.klass == klass for pair in used)
    return f"The class is {klass} in {same} of {len(used)} pairs of runs"


def _summarise(judged: Sequence[PairVerdict], trust: Trust, used: int) -> Repeats:
    pairs = tuple(
        PairSummary(
            baseline=pair.experiment.baseline or "",
            fault=pair.experiment.fault or "",
            used=not why,
            why=why,
            klass=pair.cascade.klass,
            recovered=pair.recovery.recovered,
            recovery_s=pair.recovery.seconds,
            differences={one.expectation: one.difference for one in pair.comparisons if one.n_fault},
        )
        for pair, why in zip(judged, trust.left_out, strict=True)
    )
    classes = Counter(pair.klass for pair in pairs if pair.used)
    listed: dict[str, int] = {name: classes[name] for name in reversed(_SEVERITY) if classes[name]}
    return Repeats(pairs, used, listed, _sentence(len(pairs), used))


def _sentence(made: int, used: int) -> str:
    if used < 2:
        rest = "the claims are about the one pair that is left" if used else "none of them can be used"
        return f"{made} pairs of runs were made, and {rest}."
    left = f"; {made - used} of {made} pairs left out" if used < made else ""
    return f"The claims are about the system: they stand on how {used} pairs of runs agree{left}."


def _compare(
    used: Sequence[PairVerdict], asked: Sequence[Asked], shown: PairVerdict
) -> tuple[tuple[Comparison, ...], Composite]:
    """Every expectation over the pairs; numbers by how the pairs agree, words by what happened in each pair."""
    each = [[pair.comparisons[at] for pair in used] for at in range(len(asked))]
    questions = {
        at: Question(found, each[at])
        for at, (_, found) in enumerate(asked)
        if isinstance(found, Expectation) and found.form in ("change", "limit")
    }
    answers, composite = hold(questions, used[0].experiment.window)
    comparisons = []
    for at, (_, found) in enumerate(asked):
        if at in answers:
            comparisons.append(answers[at])
        else:
            worded = isinstance(found, Expectation)
            comparisons.append(_worded(each[at], shown.comparisons[at]) if worded else each[at][0])
    return tuple(comparisons), composite


def _worded(each: Sequence[Comparison], worst: Comparison) -> Comparison:
    """A class or a recovery is seen in each pair by itself: one pair in which it does not hold is enough to fail."""
    outcomes = [one.outcome for one in each]
    outcome: Outcome = next((bad for bad in ("fail", "inconclusive") if bad in outcomes), "pass")
    chosen = worst if worst.outcome == outcome else next(one for one in each if one.outcome == outcome)
    count = outcomes.count(outcome)
    held = {"pass": "held", "fail": "did not hold", "inconclusive": "could not be told"}[outcome]
    return replace(chosen, outcome=outcome, why=f"It {held} in {count} of {len(each)} pairs of runs. {chosen.why}")
