"""The processes behind the names in a scenario: a replica is one that was started, and all that it started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil

from harness.faults.base import Fault, FaultableStack
from harness.ledger import ProcessMark, mark_of


def names(fault: Fault) -> tuple[str, ...]:
    """The servers and replicas that a fault hits; a whole component stands for all of its own."""
    components = {name for name in fault.planned.where if name == fault.planned.component}
    return tuple(
        name
        for place in fault.planned.where
        for name in (fault.stack.instances(place) if place in components else (place,))
    )


def members(stack: FaultableStack, name: str) -> tuple[ProcessMark, ...]:
    """A server's or replica's process with all its descendants. Raises StackError when it does not run."""
    first = stack.mark(name)
    process = first.find()
    if process is None:
        return ()
    return first, *_descendants(process, name)


def as_data(mark: ProcessMark) -> dict[str, Any]:
    """A process in undo data."""
    return {"name": mark.name, "pid": mark.pid, "created": mark.created}


def find(data: Mapping[str, Any]) -> psutil.Process | None:
    """The process of undo data, unless it has ended."""
    return ProcessMark(data["name"], data["pid"], data["created"], 0).find()


def with_newcomers(processes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Pids of the processes of undo data that still run, and of what they have started since; each with that data.

    Children come after their parent and are looked up only then: one that is started in between has what its parent
    was given back.
    """
    known = {one["pid"] for one in processes}
    for one in processes:
        process = find(one)
        if process is not None:
            yield one["pid"], one
            for child in _descendants(process, one["name"]):
                if child.pid not in known:
                    yield child.pid, one


def _descendants(process: psutil.Process, name: str) -> Iterator[ProcessMark]:
    try:
        children = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        try:
            yield mark_of(child.pid, name, 0)
        except psutil.NoSuchProcess:
            continue
