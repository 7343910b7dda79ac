"""The exit codes of the `harness` command; nightly jobs and scripts rely on them."""

from enum import IntEnum


class Exit(IntEnum):
    """Why a `harness` command ended. When several apply, `most_severe` picks the one that is reported."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    CASCADE = 3
    INCONCLUSIVE = 4
    INVALID = 5
    ABORTED = 6
    NOT_REVERTED = 70
    INTERRUPTED = 130


PRECEDENCE = (
    Exit.NOT_REVERTED,
    Exit.INTERRUPTED,
    Exit.INVALID,
    Exit.ABORTED,
    Exit.CASCADE,
    Exit.FAIL,
    Exit.INCONCLUSIVE,
    Exit.USAGE,
    Exit.PASS,
)


def most_severe(*codes: Exit) -> Exit:
    """The code to report when several apply: 70, 130, 5, 6, 3, 1, 4, (2), 0 in that order."""
    return min(codes, key=PRECEDENCE.index)
