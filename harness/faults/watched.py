"""A Redis server that sentinels watch, when it has died: how it comes back, and when all is in order again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.faults.base import FaultableStack, Undo
from harness.faults.undo import START_TIMEOUT_S, undo_action
from harness.probes import probe, wait_for
from harness.processes import Command, Processes
from harness.redis_calls import primary, replica_of, role

SETTLING_S = 30.0
"""Until a server that comes back as a primary is a replica: the sentinels turn it into one after some 10 s."""


def start_behind_primary(stack: FaultableStack, name: str) -> Undo:
    """The undo that starts the server again, as a replica if another one is primary by then."""
    return {
        "do": "start-behind-primary",
        "command": stack.command(name).to_json(),
        "address": stack.address(name),
        "sentinels": list(stack.sentinels(name)),
    }


def is_paired(stack: FaultableStack, name: str) -> bool:
    """Whether one of the two servers is the primary, the sentinels agree, and the other one is its replica."""
    roles = {address: role(address) for address in (stack.address(name), stack.address(f"{name}-replica"))}
    return sorted(roles.values()) == ["master", "slave"] and roles.get(primary(name, stack.sentinels(name))) == "master"


@undo_action("start-behind-primary", lambda step: shlex.join(step["command"]["argv"]))
def _start_behind_primary(step: Mapping[str, Any], processes: Processes) -> None:
    """By hand it is enough to start it: the sentinels turn it into a replica after a while."""

    def answers() -> bool:
        return probe("redis", step["address"]).ok

    if answers():
        return
    command = Command.from_json(step["command"])
    leader = primary(command.name, step["sentinels"])
    if leader not in ("", step["address"]):
        command = replace(command, argv=(*command.argv, *replica_of(leader)))
    processes.spawn(command)
    if not wait_for(answers, timeout_s=START_TIMEOUT_S):
        raise TimeoutError(f"{command.name} does not answer at {step['address']} after {START_TIMEOUT_S:.0f} s")
