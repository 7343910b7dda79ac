"""A check that breaks on data that nobody thought of is inconclusive with the reason, and the other checks go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")

CHECK_FAILURES = (ArithmeticError, ValueError, LookupError, AssertionError)
"""What a check may raise on odd data. Anything else is a mistake in the program and is not caught."""


def guarded(check: Callable[[], _Result], otherwise: Callable[[str], _Result]) -> _Result:
    """The check's result, or, when the data made it fail, what `otherwise` makes of the reason."""
    try:
        return check()
    except CHECK_FAILURES as error:
        return otherwise(f"the check could not be computed on this record ({type(error).__name__}: {error})")
