"""Name resolution: the address of a dependency that can't be found any more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from harness.errors import StackError
from harness.faults.base import Fault, FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.exchange import View
from harness.faults.private_hosts import resolves, unable
from harness.faults.undo import undo_action
from harness.plan import PlannedFault
from harness.probes import split
from harness.processes import Processes
from harness.proxy.client import ToxiproxyClient


@fault(
    "dns-failure",
    family="third party",
    place="edge",
    capability="name",
    layer="name",
    params={
        "open-connections": Param(
            "choice",
            "keep: they go on, only new ones need the name; drop: they are closed",
            default="keep",
            choices=("keep", "drop"),
        ),
    },
)
class DnsFailure(Fault):
    """The name of a dependency no longer resolves: new connections fail with the resolver's error.

    In a run with this fault the edge's address is handed out as a name, and the calling processes have a hosts file of
    their own that knows it.
    """

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._edge = stack.edge(planned.edge)
        self._upstream = stack.upstream(planned.edge)
        self._lookup = stack.lookup(planned.edge)

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:  # noqa: ARG003
        """It needs a mount namespace."""
        reason = unable()
        return f"this machine can't give processes a hosts file of their own: {reason}" if reason else ""

    def undo(self) -> Sequence[Undo]:
        """Put the name's line back into force."""
        return [{"do": "restore-name", "hosts": str(self._lookup.hosts), "at": self._lookup.at}]

    def inject(self) -> None:
        """Make a comment of the name's line."""
        _overwrite(str(self._lookup.hosts), self._lookup.at, b"#")
        if self.planned.params["open-connections"] == "drop":
            ToxiproxyClient(*split(self.stack.proxy_api)).drop_connections(self._edge.proxy)

    def is_active(self) -> bool:
        """No process that calls over the edge resolves the name, and there is one."""
        return (found := self._found()) != [] and not any(found)

    def is_clear(self) -> bool:
        """Every process that calls over the edge resolves the name, and what it leads to is as well as the far end.

        What toxics on the same edge do to answers is not this fault's.
        """
        slowed = ToxiproxyClient(*split(self.stack.proxy_api)).toxics(self._edge.proxy)
        return all(self._found()) and (bool(slowed) or View(self._edge, self._upstream).is_sound())

    def _found(self) -> list[bool]:
        """Of every caller that runs, whether it resolves the name."""
        pids = []
        for caller in self.stack.instances(self._edge.source):
            with suppress(StackError):  # another fault may have ended it
                pids.append(self.stack.mark(caller).pid)
        with ThreadPoolExecutor(max(1, len(pids))) as threads:
            return list(threads.map(lambda pid: resolves(self._lookup.name, pid), pids))


def _by_hand(step: Mapping[str, Any]) -> str:
    return f"printf 1 | dd of={step['hosts']} bs=1 seek={step['at']} conv=notrunc"


@undo_action("restore-name", _by_hand)
def _restore_name(step: Mapping[str, Any], _processes: Processes) -> None:
    with suppress(FileNotFoundError):  # the run has ended, and its scratch folder with it
        _overwrite(step["hosts"], step["at"], b"1")


def _overwrite(path: str, at: int, byte: bytes) -> None:
    """One byte, so that nobody ever reads half a change; in place, because it is this very file that is mounted."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, byte, at)
    finally:
        os.close(descriptor)
