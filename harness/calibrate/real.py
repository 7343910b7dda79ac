"""Real pairs of arms with nothing wrong: the same load on the same stack twice, no fault, judged as if there were one.

Each pair is a run of its own with a record of its own, so that the study can be stopped at any time and goes on with
what is there; what it has found is always judged anew from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import interrupt
from harness.analysis.analyse import analyse
from harness.analysis.verdict import Verdict
from harness.clock import NS
from harness.display import Display
from harness.errors import HarnessError, RecordError
from harness.exits import Exit
from harness.experiment import Planned
from harness.plan import Arm, Plan
from harness.record.reader import Event, Record, read
from harness.run import conduct
from harness.stats.proportions import exact_limits

_ARMS = (Arm("first", "baseline", 1), Arm("second", "baseline", 1))
_FAILURES_IN_A_ROW = 3
_INVALID_PER_PAIR = 2
_ALLOWED = 0.05


@dataclass(frozen=True, slots=True)
class RealPair:
    """One pair without a fault. `alarms` says in words what was found although nothing was there.

    `outcomes` maps each expectation to its outcome. An invalid pair, or one that was stopped, raises no alarm.
    """

    run_id: str
    valid: bool
    reasons: tuple[str, ...]
    alarms: tuple[str, ...]
    klass: str
    outcomes: dict[str, str]


@dataclass(frozen=True, slots=True)
class RealStudy:
    """All pairs of a folder; `wanted` valid ones were asked for."""

    folder: Path
    wanted: int
    pairs: tuple[RealPair, ...]

    @property
    def valid(self) -> tuple[RealPair, ...]:
        """The pairs that say anything."""
        return tuple(pair for pair in self.pairs if pair.valid)

    @property
    def alarms(self) -> int:
        """Valid pairs with at least one alarm."""
        return sum(bool(pair.alarms) for pair in self.valid)

    @property
    def limits(self) -> tuple[float, float]:
        """The exact one-sided 95 % limits, lower and upper, of the share of pairs with an alarm."""
        return exact_limits(self.alarms, len(self.valid), 0.95) if self.valid else (0.0, 1.0)

    @property
    def exit_code(self) -> Exit:
        """A failure when more than 5 % of alarms are shown, inconclusive while pairs are missing."""
        if self.limits[0] > _ALLOWED:
            return Exit.FAIL
        return Exit.PASS if len(self.valid) >= self.wanted else Exit.INCONCLUSIVE

    def text(self) -> str:
        """For a person."""
        n, low, high = len(self.valid), *self.limits
        lines = [
            f"{self.alarms} of {n} valid pairs without a fault raised an alarm: with 95 % confidence at most {high:.1%}"
            + (f" and at least {low:.1%}" if self.alarms else "")
            + f". {len(self.pairs) - n} more were invalid. Records: {self.folder}"
        ]
        lines += [f"  {pair.run_id}: {'; '.join(pair.alarms)}" for pair in self.valid if pair.alarms]
        for expectation in dict.fromkeys(text for pair in self.valid for text in pair.outcomes):
            found = [pair.outcomes.get(expectation) for pair in self.valid]
            counts = ", ".join(f"{found.count(word)} {word}" for word in ("pass", "fail", "inconclusive"))
            lines.append(f"  {expectation}: {counts}")
        if n < self.wanted:
            lines.append(f"{self.wanted - n} valid pairs are missing: the same command goes on.")
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "folder": str(self.folder),
            "wanted": self.wanted,
            "valid": len(self.valid),
            "invalid": len(self.pairs) - len(self.valid),
            "alarms": self.alarms,
            "lower_limit": self.limits[0],
            "upper_limit": self.limits[1],
            "exit_code": int(self.exit_code),
            "pairs": [
                {
                    "run_id": pair.run_id,
                    "valid": pair.valid,
                    "reasons": list(pair.reasons),
                    "alarms": list(pair.alarms),
                    "class": pair.klass,
                    "outcomes": pair.outcomes,
                }
                for pair in self.pairs
            ],
        }


def run_pairs(make: Callable[[], Planned], *, folder: Path, wanted: int, quiet: bool) -> tuple[RealStudy, Exit | None]:
    """Run pairs until `folder` holds `wanted` valid ones; also the exit code that ended it early, if any.

    `make` plans the scenario with a new seed each time. Invalid pairs are kept, counted and replaced by new ones, at
    most two for each wanted pair. Raises HarnessError when the folder holds pairs of another scenario, the scenario has
    no fault whose window could be used, or three runs in a row could not be carried out.
    """
    planned = make()
    if not planned.plan.faults:
        raise HarnessError(
            "the scenario has no fault", remedy="one is needed for its planned window; it is not injected"
        )
    pairs = list(_found(folder, planned.plan))
    failures = 0
    with Display(quiet=quiet) as display:
        for run_id in sorted(pair.run_id for pair in pairs if pair.alarms):
            display.say(f"an alarm in {run_id}")
        while sum(pair.valid for pair in pairs) < wanted and len(pairs) < (1 + _INVALID_PER_PAIR) * wanted:
            valid = sum(pair.valid for pair in pairs)
            display.say(f"pair {valid + 1} of {wanted} ({len(pairs) - valid} invalid, {_alarms(pairs)} with an alarm)")
            planned = make()
            plan = replace(planned.plan, arms=_ARMS)
            outcome = conduct(plan, planned.target, results=folder, display=display)
            if Exit.INTERRUPTED in outcome.codes:
                return RealStudy(folder, wanted, tuple(pairs)), Exit.INTERRUPTED
            pair = _pair(outcome.folder.root)
            failures = failures + 1 if pair is None else 0
            if failures == _FAILURES_IN_A_ROW:
                why = "; ".join(outcome.messages or outcome.reasons)
                raise HarnessError(
                    f"three runs in a row could not be carried out: {why}", remedy="see `harness doctor`"
                )
            if pair is not None:
                display.say("; ".join(pair.alarms or pair.reasons) or f"no alarm, class {pair.klass}")
                pairs.append(pair)
    interrupt.check()
    return RealStudy(folder, wanted, tuple(pairs)), None


def judge(record: Record) -> Verdict:
    """The verdict on two arms without a fault, the second taken for the fault arm during the planned faults."""
    first, second = record.info.arms
    as_fault = second.model_copy(update={"kind": "fault"})
    info = record.info.model_copy(update={"arms": (first, as_fault)})
    return analyse(replace(record, info=info, events=(*record.events, *_nominal(record, second.name))))


def _nominal(record: Record, arm: str) -> Iterator[Event]:
    for fault in record.info.faults:
        at_s, for_s = fault.at_s or 0.0, fault.for_s or 0.0
        fields = {"fault": fault.id, "component": fault.component, "edge": fault.edge, "places": fault.places}
        yield Event(round(at_s * NS), arm, "fault.active", fields)
        yield Event(round((at_s + for_s) * NS), arm, "fault.clear", fields)


def _found(folder: Path, plan: Plan) -> Iterator[RealPair]:
    """The pairs that are in the folder already; runs that were stopped before their end are left out."""
    for path in sorted(folder.glob("*/run.json")):
        try:
            record = read(path.parent)
        except RecordError:
            continue
        if record.info.scenario_sha256 != plan.scenario_sha256:
            raise HarnessError(
                f"{path.parent} is a run of another scenario, or of other options", remedy="choose another folder"
            )
        if (pair := _judged(record)) is not None:
            yield pair


def _pair(folder: Path) -> RealPair | None:
    try:
        return _judged(read(folder))
    except RecordError:
        return None


def _judged(record: Record) -> RealPair | None:
    """What a record of two arms shows; None when the run ended before it had both."""
    if [arm.kind for arm in record.info.arms] != ["baseline", "baseline"]:
        return None
    verdict = judge(record)
    return RealPair(
        run_id=record.info.run_id,
        valid=verdict.validity.valid,
        reasons=verdict.validity.reasons,
        alarms=_alarms_of(verdict) if verdict.validity.valid else (),
        klass=verdict.cascade.klass,
        outcomes={comparison.expectation: comparison.outcome for comparison in verdict.comparisons},
    )


def _alarms_of(verdict: Verdict) -> tuple[str, ...]:
    failed = [f"{one.expectation}: {one.why}" for one in verdict.comparisons if one.outcome == "fail"]
    if verdict.cascade.klass not in ("none", "unknown"):
        failed.append(f"class {verdict.cascade.klass}: {verdict.cascade.sentence}")
    return tuple(failed)


def _alarms(pairs: Sequence[RealPair]) -> int:
    return sum(bool(pair.alarms) for pair in pairs)
