"""The undo actions, by name: functions of plain data that anyone may carry out, twice if need be.

An action returns when the fault's cause is gone; it raises when it could not be taken away. `@undo_action` registers
one, beside the shared ones here or in the module of a family of faults.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from harness.endpoints import change_endpoint, change_path
from harness.errors import DiskError, NotRevertedError
from harness.faults.base import Undo
from harness.ledger import ProcessMark
from harness.probes import probe, refused, split, wait_for
from harness.processes import Command, Processes
from harness.proxy.client import ToxiproxyClient

START_TIMEOUT_S = 30.0
"""As long as a stack may take to come up."""

Action = Callable[[Mapping[str, Any], Processes], None]
ByHand = Callable[[Mapping[str, Any]], str]
_actions: dict[str, tuple[Action, ByHand]] = {}


def undo_action(name: str, by_hand: ByHand) -> Callable[[Action], Action]:
    """Decorator: register an action for undo data `{"do": name, ...}`, and the shell command that does the same.

    Raises ValueError when the name is taken.
    """

    def register(action: Action) -> Action:
        if name in _actions:
            raise ValueError(f"the undo action {name!r} is registered twice")
        _actions[name] = action, by_hand
        return action

    return register


def carry_out(step: Undo, processes: Processes) -> None:
    """Do one undo step. Raises NotRevertedError, with the manual command as its remedy, when it fails."""
    try:
        _known(step)[0](step, processes)
    except NotRevertedError:
        raise
    except Exception as error:  # whatever went wrong, the user must learn that the fault is still there
        raise NotRevertedError(f"could not take back: {by_hand(step)}: {error}", remedy=by_hand(step)) from error


def by_hand(step: Undo) -> str:
    """The shell command that does the same as the step; the step itself when nobody knows one."""
    try:
        return _known(step)[1](step)
    except Exception:  # noqa: BLE001  what it says must not hide what it is asked for: a fault that is still there
        return json.dumps(dict(step))


def _known(step: Undo) -> tuple[Action, ByHand]:
    if step["do"] not in _actions:
        from harness.faults.catalogue import catalogue  # late: only an action of a family needs all of them loaded

        catalogue()
    return _actions[step["do"]]


def remove_toxic(api: str, proxy: str, toxic: str) -> Undo:
    """Undo data: take a toxic off a proxy."""
    return {"do": "remove-toxic", "api": api, "proxy": proxy, "toxic": toxic}


@undo_action(
    "remove-toxic", lambda step: f"curl -X DELETE http://{step['api']}/proxies/{step['proxy']}/toxics/{step['toxic']}"
)
def _remove_toxic(step: Mapping[str, Any], _processes: Processes) -> None:
    if refused(step["api"]):
        return  # a toxic is gone with the server that it was in
    ToxiproxyClient(*split(step["api"])).remove_toxic(step["proxy"], step["toxic"])


def enable_proxy(api: str, proxy: str) -> Undo:
    """Undo data: let a proxy listen again."""
    return {"do": "enable-proxy", "api": api, "proxy": proxy}


@undo_action(
    "enable-proxy", lambda step: f"curl -d '{{\"enabled\": true}}' http://{step['api']}/proxies/{step['proxy']}"
)
def _enable_proxy(step: Mapping[str, Any], _processes: Processes) -> None:
    if not refused(step["api"]):
        ToxiproxyClient(*split(step["api"])).set_enabled(step["proxy"], enabled=True)


def remove_proxy(api: str, proxy: str) -> Undo:
    """Undo data: take a proxy off a Toxiproxy server that is not the run's own."""
    return {"do": "remove-proxy", "api": api, "proxy": proxy}


@undo_action("remove-proxy", lambda step: f"curl -X DELETE http://{step['api']}/proxies/{step['proxy']}")
def _remove_proxy(step: Mapping[str, Any], _processes: Processes) -> None:
    if not refused(step["api"]):  # a server that has gone has taken its proxies with it
        ToxiproxyClient(*split(step["api"])).destroy(step["proxy"])


def start_process(command: Command, protocol: str, address: str, *, path: str = "", afresh: bool = False) -> Undo:
    """Undo data: start a process again and wait until it answers at `address` (an HTTP one at `path`).

    Nothing is done when it answers already, or soon does because it is starting, unless it was told to end or `afresh`
    is asked for: then whatever runs under its name is ended first.
    """
    return {
        "do": "start-process",
        "command": command.to_json(),
        "protocol": protocol,
        "address": address,
        "path": path,
        "afresh": afresh,
    }


def as_typed(command: Command) -> str:
    """The shell command that starts the process, with its folder, account and environment."""
    account = ["runuser", "-u", command.account, "--"] if command.account else []
    environment = [f"{name}={value}" for name, value in command.environment.items()]
    return f"cd {shlex.quote(command.cwd)} && {shlex.join([*account, 'env', *environment, *command.argv])}"


@undo_action("start-process", lambda step: as_typed(Command.from_json(step["command"])))
def _start_process(step: Mapping[str, Any], processes: Processes) -> None:
    def answers() -> bool:
        return probe(step["protocol"], step["address"], path=step["path"]).ok

    def has_started() -> bool:
        # What it needs to be ready, the proxies before all, ends with the conductor: then to listen is all it can do.
        return answers() or (processes.conductor_is_gone and not refused(step["address"]))

    def is_decided() -> bool:
        return has_started() or processes.age_s(command.name) > START_TIMEOUT_S

    command = Command.from_json(step["command"])
    processes.end_orphans(command.name)
    if not step["afresh"] and not processes.is_ending(command.name):
        # One that somebody else has just started is given its time: starting it once more would only take longer.
        wait_for(is_decided, timeout_s=START_TIMEOUT_S)
        if has_started():
            return
    # On a full disk the process is without its entry, and is found by its tag all the same when the run ends.
    with contextlib.suppress(DiskError):
        processes.spawn(command)
    if not wait_for(has_started, timeout_s=START_TIMEOUT_S):
        raise TimeoutError(f"{command.name} does not answer at {step['address']} after {START_TIMEOUT_S:.0f} s")


def continue_process(mark: ProcessMark) -> Undo:
    """Undo data: let a process that was stopped by SIGSTOP go on, with all its descendants."""
    return {"do": "continue-process", "name": mark.name, "pid": mark.pid, "created": mark.created}


@undo_action("continue-process", lambda step: f"kill -s CONT -- -{step['pid']} $(pgrep -P {step['pid']})")
def _continue_process(step: Mapping[str, Any], _processes: Processes) -> None:
    for process in family_of(ProcessMark(step["name"], step["pid"], step["created"], signal.SIGTERM)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


def family_of(mark: ProcessMark) -> Sequence[psutil.Process]:
    """A live process and its live descendants, parents first, whatever group they are in; none when it has ended."""
    process = mark.find()
    try:
        family = [process, *process.children(recursive=True)] if process else []
    except psutil.NoSuchProcess:
        return []
    return [one for one in family if status_of(one) not in ("", psutil.STATUS_ZOMBIE)]


def status_of(process: psutil.Process) -> str:
    """Its status (psutil.STATUS_*), "" when it is gone."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return ""


def end_process(command: Command) -> Undo:
    """Undo data: end the process of that name that this run has started, if there is one."""
    return {"do": "end-process", "name": command.name, "argv": list(command.argv)}


@undo_action("end-process", lambda step: f"pkill -KILL -f -x {shlex.quote(shlex.join(step['argv']))}")
def _end_process(step: Mapping[str, Any], processes: Processes) -> None:
    processes.kill(step["name"])


def admit_endpoint(control: str, name: str) -> Undo:
    """Undo data: let the service whose control port is `control` send connections to an endpoint again."""
    return {"do": "admit-endpoint", "control": control, "name": name}


@undo_action(
    "admit-endpoint",
    lambda step: f"curl -X POST http://{step['control']}{change_path(step['name'], 'admit')}",
)
def _admit_endpoint(step: Mapping[str, Any], _processes: Processes) -> None:
    if not refused(step["control"]):  # what is out of a service is so only as long as there is one
        change_endpoint(step["control"], step["name"], "admit")
