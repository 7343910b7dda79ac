"""The undo actions, by name: functions of plain data that anyone may carry out, twice if need be.

An action returns when the fault's cause is gone; it raises when it could not be taken away.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import NotRevertedError
from harness.faults.base import Undo
from harness.probes import probe, split, wait_for
from harness.processes import Command, Processes
from harness.proxy.client import ToxiproxyClient

START_TIMEOUT_S = 10.0


def remove_toxic(api: str, proxy: str, toxic: str) -> Undo:
    """Undo data: take a toxic off a proxy."""
    return {"do": "remove-toxic", "api": api, "proxy": proxy, "toxic": toxic}


def start_process(command: Command, protocol: str, address: str) -> Undo:
    """Undo data: start a process again and wait until it answers at `address`."""
    return {"do": "start-process", "command": command.to_json(), "protocol": protocol, "address": address}


def carry_out(step: Undo, processes: Processes) -> None:
    """Do one undo step. Raises NotRevertedError, with the manual command as its remedy, when it fails."""
    try:
        _ACTIONS[step["do"]](step, processes)
    except Exception as error:  # whatever went wrong, the user must learn that the fault is still there
        raise NotRevertedError(f"could not take back: {by_hand(step)}: {error}", remedy=by_hand(step)) from error


def by_hand(step: Undo) -> str:
    """The shell command that does the same as the step."""
    if step["do"] == "remove-toxic":
        return f"curl -X DELETE http://{step['api']}/proxies/{step['proxy']}/toxics/{step['toxic']}"
    return shlex.join(step["command"]["argv"])


def _remove_toxic(step: Mapping[str, Any], _processes: Processes) -> None:
    ToxiproxyClient(*split(step["api"])).remove_toxic(step["proxy"], step["toxic"])


def _start_process(step: Mapping[str, Any], processes: Processes) -> None:
    def answers() -> bool:
        return probe(step["protocol"], step["address"]).ok

    if answers():
        return
    command = Command.from_json(step["command"])
    processes.kill(command.name)
    processes.spawn(command)
    if not wait_for(answers, timeout_s=START_TIMEOUT_S):
        raise TimeoutError(f"{command.name} does not answer at {step['address']} after {START_TIMEOUT_S:.0f} s")


_ACTIONS: dict[str, Callable[[Mapping[str, Any], Processes], None]] = {
    "remove-toxic": _remove_toxic,
    "start-process": _start_process,
}
