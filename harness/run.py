"""Conducts one run: the only place where stack, load, faults and telemetry meet.

Whatever happens in here (an error, Ctrl-C, a part that dies), the same clean-up follows: faults reverted, load ended,
stack down, record closed. If this process itself is killed, the guard does it from the ledger.
"""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from harness import interrupt
from harness.allowed import moment, open_until, refuse_outside
from harness.arm import Aborted, ArmRun
from harness.display import Display
from harness.errors import HarnessError
from harness.exits import Exit
from harness.faults.catalogue import catalogue
from harness.faults.guard import Guard
from harness.ledger import Ledger, mark_of
from harness.load.remote.fleet import Bind, Fleet
from harness.paths import RunFolder
from harness.plan import Arm, Plan
from harness.processes import Processes
from harness.record import facts
from harness.record.writer import RecordWriter
from harness.scenario.manifest import Target
from harness.stack.local import LocalStack
from harness.stack.replica import LOOPBACK

OPEN_FILES = 65536


@dataclass(slots=True)
class Outcome:
    """How conducting went: the record's folder, what made the run invalid, and the exit codes that apply so far."""

    folder: RunFolder
    reasons: list[str] = field(default_factory=list)
    codes: list[Exit] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    arms: list[ArmRun] = field(default_factory=list)


def conduct(plan: Plan, target: Target, *, results: Path, display: Display, load_hosts: Bind | None = None) -> Outcome:
    """Run every arm of the plan and leave a record in `results/<run-id>/`.

    With `load_hosts` all load workers are on other hosts, which find this one at that address.

    Raises HarnessError when now is not a time at which the scenario allows itself to be run, or when the results folder
    can't be written; anything later is told in the outcome.
    """
    refuse_outside(plan.allowed, datetime.now(UTC), plan.estimate_s, name=plan.name, file=plan.scenario_file)
    folder = new_folder(results, plan.name)
    for path in (folder.logs, folder.spool):
        path.mkdir()
    outcome = Outcome(folder)
    ledger = Ledger(folder.ledger)
    with ExitStack() as cleanup:
        try:
            _conduct(plan, target, outcome, ledger, cleanup, display, load_hosts)
        except interrupt.Interrupted as interruption:
            display.say(f"{interruption}: taking everything back")
            outcome.codes.append(Exit.INTERRUPTED)
            outcome.reasons.append("the run was interrupted")
        except Aborted as error:
            outcome.codes.append(error.exit_code)
            outcome.messages.append(str(error))
        except HarnessError as error:
            outcome.codes.append(error.exit_code)
            outcome.reasons.append(error.message)
            outcome.messages.append(str(error))
        _tell_what_is_left(outcome)
    if interrupt.came() and Exit.INTERRUPTED not in outcome.codes:
        outcome.codes.append(Exit.INTERRUPTED)
    interrupt.install()
    return outcome


def _conduct(
    plan: Plan,
    target: Target,
    outcome: Outcome,
    ledger: Ledger,
    cleanup: ExitStack,
    display: Display,
    load_hosts: Bind | None,
) -> None:
    _allow_open_files()
    run_id = outcome.folder.root.name
    logs = outcome.folder.logs
    with interrupt.held():  # an interrupt in between would leave a ledger that nobody closes
        ledger.run(run_id, mark_of(os.getpid(), "conductor", signal.SIGTERM))
        guard = Guard(ledger, logs / "guard.log")
        cleanup.callback(guard.dismiss)
    processes = Processes(run_id, ledger)
    writer = RecordWriter(outcome.folder, info_of(plan, target, run_id))
    cleanup.callback(_close, writer, outcome)
    stack = LocalStack(
        target,
        plan.settings,
        processes=processes,
        ledger=ledger,
        folder=outcome.folder,
        seed=plan.seed,
        client_host=load_hosts.host if load_hosts else LOOPBACK,
        named={place for one in plan.faults if catalogue()[one.kind].capability == "name" for place in one.where},
    )
    cleanup.callback(_take_down, stack, ledger)
    fleet = None
    if load_hosts is not None:
        fleet = Fleet(load_hosts, plan.load, spawn=processes.spawn_with_pipes(logs), logs=logs)
        cleanup.callback(fleet.dismiss)
    cleanup.callback(interrupt.shield)
    if fleet is not None:
        fleet.start()
        fleet.gather(display.say)
    display.say(f"run {run_id}: {plan.name} ({plan.variant}), seed {plan.seed}; booting the stack")
    stack.up()
    for edge in (place for fault in plan.faults if fault.edge for place in fault.where):
        stack.edge(edge)  # on a Toxiproxy server that is not ours, what is missing shows only now
    for arm in plan.arms:
        _stay_within(plan, arm)
        arm_run = ArmRun(
            plan,
            arm,
            stack=stack,
            processes=processes,
            ledger=ledger,
            guard=guard,
            writer=writer,
            folder=outcome.folder,
            display=display,
            crew=fleet,
        )
        outcome.arms.append(arm_run)
        outcome.reasons += [f"{arm.name}: {reason}" for reason in arm_run.run()]
    display.say("taking the stack down")


def _stay_within(plan: Plan, arm: Arm) -> None:
    """Raise Aborted when the time in which the plan may be run ends before the arm would."""
    now = datetime.now(UTC)
    until = open_until(plan.allowed, now)
    if plan.allowed and (until is None or until < now + timedelta(seconds=plan.arm_duration_s)):
        ends = "is over" if until is None else f"ends {moment(until, ZoneInfo(plan.allowed[0].timezone))}"
        raise Aborted(f"stopped before {arm.name}: the time allowed for `{plan.name}` {ends}")


def _tell_what_is_left(outcome: Outcome) -> None:
    """A fault that could not be taken back is told whatever else ended the run."""
    for error in [error for arm in outcome.arms for error in arm.not_reverted]:
        if str(error) not in outcome.messages:
            outcome.codes.append(error.exit_code)
            outcome.reasons.append(error.message)
            outcome.messages.append(str(error))


def _take_down(stack: LocalStack, ledger: Ledger) -> None:
    """The ledger goes only when nothing is left: if this fails, the guard finds it and does the rest."""
    stack.down()
    ledger.close()


def _close(writer: RecordWriter, outcome: Outcome) -> None:
    try:
        writer.close(outcome.reasons, [arm.start for arm in outcome.arms if arm.start])
        if all(arm.collected for arm in outcome.arms):
            shutil.rmtree(outcome.folder.spool)
    except HarnessError as error:
        outcome.codes.append(error.exit_code)
        outcome.messages.append(str(error))


def _allow_open_files() -> None:
    """Hundreds of virtual users need more sockets than the usual soft limit; children inherit what is set here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def new_folder(results: Path, name: str) -> RunFolder:
    """A folder for a record, just made. Raises HarnessError when `results` can't be written to."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    # Absolute, because the processes of the run have working folders of their own.
    folder = RunFolder(results.absolute() / f"{stamp}-{name}-{secrets.token_hex(2)}")
    try:
        folder.root.mkdir(parents=True)
    except OSError as error:
        raise HarnessError(
            f"cannot write to {folder.root}: {error.strerror}", remedy="name another folder with --out"
        ) from error
    return folder


def info_of(plan: Plan, target: Target, run_id: str) -> dict[str, Any]:
    """What run.json says of a plan, for the writer of a record."""
    return {
        "run_id": run_id,
        "scenario": dict(plan.scenario),
        "scenario_sha256": plan.scenario_sha256,
        "versions": facts.versions(),
        "host": facts.host(),
        "seeds": {"seed": plan.seed},
        "phases": [asdict(phase) for phase in plan.phases],
        "load": {
            "model": plan.load.model,
            "spacing": plan.load.spacing if plan.load.model == "open" else None,
            "users": plan.load.users,
            "traces": [asdict(replay) for replay in plan.load.traces],
        },
        "faults": [
            {**asdict(fault), "params": dict(fault.params), "written": dict(entry[fault.kind])}
            for fault, entry in zip(plan.faults, plan.scenario["faults"], strict=True)
        ],
        "margins": list(plan.expect),
        "target": {
            "name": plan.target_name,
            "variant": plan.variant,
            "dependencies": _lists(target.dependencies),
            "component_dependencies": _lists(target.component_dependencies),
            "shared_resources": _lists(target.shared_resources),
            "existing": target.existing,
            "retries": {edge: int(plan.scenario["settings"][name]) for edge, name in target.retries.items()},
        },
        "created_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _lists(mapping: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in mapping.items()}
