"""Looks up acknowledged writes: runs the target's own audit program, in every region, and reads what it found."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StackError
from harness.processes import Command, Processes, tail

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """Of the writes asked for, those that are nowhere, and those that are there more than once.

    `unacknowledged`: how many writes there are that nobody asked for; None when the program does not say.
    """

    missing: tuple[str, ...]
    doubled: tuple[str, ...]
    unacknowledged: int | None


def look_up(names: Sequence[str], commands: Iterable[Command], processes: Processes) -> Found:
    """Ask each of the programs (one for each region) for the writes of these names.

    A write belongs in one region, whichever. Raises StackError when a program fails, or says something else than it
    should.
    """
    answers = [_ask(command, names, processes) for command in commands]
    there = Counter(name for answer in answers for name in set(names).difference(answer.missing))
    doubled = {name for answer in answers for name in answer.doubled} | {name for name in there if there[name] > 1}
    others = [answer.unacknowledged for answer in answers]
    known = [count for count in others if count is not None]
    return Found(
        missing=tuple(name for name in names if not there[name]),
        doubled=tuple(name for name in names if name in doubled),
        # What was acknowledged in another region is nobody's here.
        unacknowledged=known[0] if len(others) == len(known) == 1 else None,
    )


def _ask(command: Command, names: Sequence[str], processes: Processes) -> Found:
    process = processes.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        said, _ = process.communicate("".join(f"{name}\n" for name in names).encode(), TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"the target's audit command took longer than {TIMEOUT_S:.0f} s") from error
    finally:
        processes.kill(command.name)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if process.returncode:
        last = tail(Path(command.log)) or f"    exit code {process.returncode}"
        raise StackError(f"the target's audit command failed:\n{last}", remedy=f"see {command.log}")
    return _read(said, names)


def _read(said: bytes, names: Sequence[str]) -> Found:
    try:
        answer = json.loads(said)
        missing, doubled, others = answer["missing"], answer["doubled"], answer.get("unacknowledged")
        unknown = set(missing).union(doubled).difference(names)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        shown = said[:200].decode(errors="replace").strip()
        raise StackError(
            f"the target's audit command said something unexpected: `{shown}`",
            remedy='it shall print {"missing": [...], "doubled": [...]}',
        ) from error
    if unknown:
        raise StackError(f"the target's audit command tells of `{min(unknown)}`, which it was not asked for")
    return Found(tuple(missing), tuple(doubled), others if isinstance(others, int) else None)
