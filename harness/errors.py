"""Errors that are meant for the user: what was expected, what came, what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from harness.exits import Exit


class HarnessError(Exception):
    """A failure the user can act on; the command line prints it without a traceback.

    `remedy` says what to do next; `exit_code` is what the process ends with.
    """

    exit_code: Exit = Exit.USAGE

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class ScenarioError(HarnessError):
    """Something in a scenario or manifest file is wrong: names the file, the line (1-based) and the field."""

    def __init__(
        self,
        message: str,
        *,
        file: Path | str = "",
        line: int | None = None,
        column: int | None = None,
        field: str = "",
        remedy: str = "",
    ) -> None:
        self.file = str(file)
        self.line = line
        self.column = column
        self.field = field
        where = self.file
        if line is not None:
            where += f":{line}" + (f":{column}" if column is not None else "")
        prefix = ": ".join(part for part in (where, field) if part)
        super().__init__(f"{prefix}: {message}" if prefix else message, remedy=remedy)


class RecordError(HarnessError):
    """A run record is missing, damaged, truncated, incomplete or of a newer version."""


class IntegrityError(RecordError):
    """A file of a run record does not match the digest in run.json."""


class StackError(HarnessError):
    """A part of the stack did not come up, or died; the run says nothing about the system under test."""

    exit_code = Exit.INVALID


class LoadError(HarnessError):
    """The load engine failed; the run says nothing about the system under test."""

    exit_code = Exit.INVALID


class DiskError(HarnessError):
    """A file that the run needs could not be written; what was written before is kept."""

    exit_code = Exit.INVALID


class NotRevertedError(HarnessError):
    """A fault could not be taken back; the remedy is the manual command."""

    exit_code = Exit.NOT_REVERTED


def nearest(word: str, choices: Iterable[str]) -> str:
    """A remedy line for a word that is not among `choices`: the nearest match, if any, and all allowed values."""
    allowed = sorted(choices)
    close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}" if allowed else hint.strip()
