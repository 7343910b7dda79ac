"""What the kernel lets a process that runs already have: descriptors and memory, changed from outside and back."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.faults.base import Undo
from harness.faults.members import as_data, with_newcomers
from harness.faults.undo import undo_action
from harness.ledger import ProcessMark
from harness.processes import Processes

_KINDS = {"nofile": resource.RLIMIT_NOFILE, "data": resource.RLIMIT_DATA}


def get_limit(pid: int, kind: str) -> tuple[int, int]:
    """Soft and hard limit of `nofile` (descriptors) or `data` (bytes of private writable memory); -1 is none.

    Raises ProcessLookupError.
    """
    return resource.prlimit(pid, _KINDS[kind])


def lower_limit(pid: int, kind: str, soft: int) -> None:
    """Set the soft limit, never above what it is. Raises ProcessLookupError, PermissionError."""
    now, hard = get_limit(pid, kind)
    resource.prlimit(pid, _KINDS[kind], (soft if now == resource.RLIM_INFINITY else min(soft, now), hard))


def restore_limits(kind: str, marks: Sequence[ProcessMark]) -> Undo:
    """Undo data: give processes, and what they start from now on, the limits that they have now."""
    found = []
    for mark in marks:
        with contextlib.suppress(ProcessLookupError):
            found.append({**as_data(mark), "limits": list(get_limit(mark.pid, kind))})
    return {"do": "restore-limits", "kind": kind, "processes": found}


def _with_children(one: Mapping[str, Any], command: str) -> str:
    return f"for pid in {one['pid']} $(pgrep -P {one['pid']}); do {command}; done"


def _by_hand(step: Mapping[str, Any]) -> str:
    def written(limit: int) -> str:
        return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)

    return "; ".join(
        _with_children(one, f"prlimit --pid $pid --{step['kind']}={':'.join(map(written, one['limits']))}")
        for one in step["processes"]
    )


@undo_action("restore-limits", _by_hand)
def _restore_limits(step: Mapping[str, Any], _processes: Processes) -> None:
    for pid, one in with_newcomers(step["processes"]):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, _KINDS[step["kind"]], tuple(one["limits"]))


def descriptor_limit(pid: int, spare: int) -> int:
    """The limit that lets a process open `spare` more descriptors and not one more: it counts numbers, not files."""
    taken = {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}
    limit = 0
    while spare >= 0:
        spare -= limit not in taken
        limit += 1
    return limit - 1


def private_bytes(pid: int) -> int:
    """What counts against the limit `data`: private writable memory in bytes (VmData). Raises ProcessLookupError."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)


def pin(pid: int, cpus: Sequence[int]) -> None:
    """Let all threads of a process run on these processors only."""
    for thread in _threads(pid):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, cpus)


def restore_cpus(marks: Sequence[ProcessMark]) -> Undo:
    """Undo data: let processes, and what they start from now on, run where they may run now."""
    found = []
    for mark in marks:
        with contextlib.suppress(ProcessLookupError):
            found.append({**as_data(mark), "cpus": sorted(os.sched_getaffinity(mark.pid))})
    return {"do": "restore-cpus", "processes": found}


@undo_action(
    "restore-cpus",
    lambda step: "; ".join(
        _with_children(one, f"taskset --all-tasks --cpu-list --pid {','.join(map(str, one['cpus']))} $pid")
        for one in step["processes"]
    ),
)
def _restore_cpus(step: Mapping[str, Any], _processes: Processes) -> None:
    for pid, one in with_newcomers(step["processes"]):
        pin(pid, one["cpus"])


def _threads(pid: int) -> list[int]:
    try:
        return [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:
        return []
