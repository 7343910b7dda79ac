"""Compiles the event loop: numba, with the machine code kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def jit(function: Function) -> Function:
    """A function that only compiled code calls: its machine code becomes a part of the caller's."""
    # Options that numba's type hints don't have. Without a way in from Python it compiles in half the time. Without
    # reference counts (nothing is allocated) and as a part of its callers it is seven times as fast: the world is a
    # tuple of many arrays, each of which would be counted at each call.
    return cast(Function, cast(Any, njit)(no_cpython_wrapper=True, _nrt=False, forceinline=True)(function))


def jit_entry(function: Function) -> Function:
    """A function that Python calls: compiled at its first call, later processes find the machine code on disk."""
    try:
        compiled = cast(Any, njit)(cache=True, _nrt=False)(function)
    except RuntimeError:
        # numba found no folder that it may write to: then each process compiles for itself.
        return cast(Function, njit(function))
    _forget_stale(compiled)
    return cast(Function, compiled)


def is_kept(compiled: Any) -> bool:
    """Whether the machine code of a `jit_entry` function is on disk already."""
    stats = getattr(compiled, "stats", None)
    return stats is not None and any(Path(stats.cache_path or "/nowhere").glob(f"*.{compiled.__name__}-*.nbi"))


def _forget_stale(compiled: Any) -> None:
    """numba looks at the file of a function only, not at those of the functions that became a part of it."""
    folder = Path(__file__).parent
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in Path(compiled.stats.cache_path).glob("*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)
