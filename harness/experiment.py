"""The main job as three calls: `plan` a scenario file, `run` the plan, `judge` the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.allowed import refuse_outside
from harness.analysis.analyse import analyse
from harness.analysis.history import read_history
from harness.analysis.power import Foresight, foresee
from harness.analysis.verdict import Verdict, write
from harness.display import Display
from harness.errors import HarnessError, RecordError
from harness.exits import Exit, most_severe
from harness.faults.catalogue import catalogue
from harness.faults.restore import leftovers
from harness.load.remote.fleet import Bind
from harness.paths import RunFolder
from harness.plan import Plan
from harness.record.reader import read
from harness.record.salvage import salvage as rebuild
from harness.report.terminal import render_text
from harness.report.write import write_all
from harness.run import conduct
from harness.scenario.existing import NOTHING, Existing
from harness.scenario.manifest import Target
from harness.scenario.resolve import resolve, target_of


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with the target that it is for."""

    plan: Plan
    target: Target


@dataclass(frozen=True, slots=True)
class Judged:
    """The end of the job: where the record is, what it showed (None when it can't be read), what to exit with."""

    folder: RunFolder
    verdict: Verdict | None
    exit_code: Exit
    messages: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        """For a person: the verdict, then anything that went wrong besides."""
        shown = "" if self.verdict is None else render_text(self.verdict, folder=self.folder.root)
        return shown + "".join(f"harness: {message}\n" for message in self.messages)

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "folder": str(self.folder.root),
            "exit_code": int(self.exit_code),
            "messages": list(self.messages),
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }


def plan(
    file: Path,
    *,
    variant: str | None = None,
    seed: int | None = None,
    repeat: int = 1,
    only: str | None = None,
    workers: int = 1,
    overrides: Sequence[str] = (),
    existing: Existing = NOTHING,
) -> Planned:
    """Check a scenario and resolve it; `existing` is used instead of being started. Raises ScenarioError."""
    resolved = resolve(
        file,
        catalogue=catalogue(),
        variant=variant,
        seed=seed,
        repeat=repeat,
        only=only,
        overrides=overrides,
        existing=existing,
    )
    target = target_of(resolved, existing)
    expected = resolved.expected_load and replace(resolved.expected_load, workers=workers)
    return Planned(replace(resolved, load=replace(resolved.load, workers=workers), expected_load=expected), target)


def foretell(planned: Planned, results: Path) -> Foresight:
    """What the plan can tell before it is run, with what earlier runs in `results` say about its numbers."""
    return foresee(planned.plan, read_history(results, planned.plan), tuple(planned.target.dependencies))


def refuse_bad_times(plans: Sequence[Planned]) -> None:
    """Raise ScenarioError when one of these runs, one after the other, would be outside the time allowed for it."""
    begin = datetime.now(UTC)
    for planned in plans:
        plan = planned.plan
        refuse_outside(plan.allowed, begin, plan.estimate_s, name=plan.name, file=plan.scenario_file)
        begin += timedelta(seconds=plan.estimate_s)


def load_hosts(count: int | None, bind: str | None) -> Bind | None:
    """Where `count` load hosts find this one, None when there are none. Raises `HarnessError` for half of the two."""
    if count is not None and bind is not None:
        return Bind.parse(bind)
    if count is None and bind is None:
        return None
    raise HarnessError(
        "load hosts take two options: how many there are, and the address of this host at which they find it",
        remedy="harness run FILE --remote-workers N --bind HOST[:PORT]",
    )


def run(planned: Planned, *, results: Path, quiet: bool = False, load_hosts: Bind | None = None) -> Judged:
    """Carry out the plan, judge the record, write the reports.

    With `load_hosts`, an address of this host, all load workers are on other hosts (`harness worker`).
    """
    with Display(quiet=quiet) as display:
        for run_id in leftovers(results):
            display.say(f"note: {run_id} was killed and left something behind: `harness rollback --out {results}`")
        outcome = conduct(planned.plan, planned.target, results=results, display=display, load_hosts=load_hosts)
        display.say("analysing the record")
        try:
            judged = judge(outcome.folder, integrity=True, reports=True)
        except RecordError as error:
            judged = Judged(outcome.folder, None, error.exit_code, (str(error),))
    code = most_severe(judged.exit_code, *outcome.codes) if outcome.codes or judged.verdict else Exit.INVALID
    return replace(judged, exit_code=code, messages=(*outcome.messages, *judged.messages))


def salvage(folder: RunFolder) -> tuple[dict[str, int], Judged]:
    """Rebuild the record of a run that could not finish it; its rows per arm, and the verdict: invalid, always.

    Raises RecordError when there is nothing to salvage.
    """
    rows = rebuild(folder)
    return rows, judge(folder, integrity=True, reports=True)


def judge(folder: RunFolder, *, integrity: bool, reports: bool) -> Judged:
    """The verdict of a record, written into its folder, with the reports if asked. Raises RecordError."""
    record = read(folder.root, integrity=integrity)
    verdict = analyse(record)
    try:
        if reports:
            write_all(record, verdict)
        else:
            write(verdict, folder.verdict)
    except OSError as error:
        raise HarnessError(f"cannot write into {folder.root}: {error.strerror}", remedy="copy the record") from error
    return Judged(folder, verdict, verdict.exit_code)
