"""Ctrl-C and SIGTERM become one exception in the main thread, once; clean-up is never interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_came: list[int] = []


class Interrupted(BaseException):
    """The user or the system asked us to stop. Not an Exception, so that nothing swallows it on its way up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)


def install() -> None:
    """From now on the first of `SIGNALS` raises Interrupted in the main thread; what came before is forgotten.

    Under nohup the end of the terminal goes on meaning nothing.
    """
    _came.clear()
    sys.unraisablehook = _swallowed
    _listen()


def shield() -> None:
    """From now on no signal interrupts: what runs next is clean-up. `install` ends that."""
    _handle(_later)


@contextmanager
def held() -> Iterator[None]:
    """No signal interrupts the block; one that came meanwhile raises Interrupted after it, unless another exception
    is on its way already."""
    unwinding = sys.exc_info()[0] is not None
    shield()
    yield
    if not unwinding:
        check()
        _listen()


def check() -> None:
    """Raise Interrupted if a signal has come: one that was raised in a finaliser is swallowed by the interpreter."""
    if _came:
        raise Interrupted(_came[-1])


def came() -> bool:
    """Whether one of `SIGNALS` has come since `install`."""
    return bool(_came)


def _listen() -> None:
    _handle(_first)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _swallowed(what: sys.UnraisableHookArgs) -> None:
    """An interrupt that was raised in a finaliser is no error to be printed: `check` raises it again."""
    if not isinstance(what.exc_value, Interrupted):
        sys.__unraisablehook__(what)


def _first(number: int, _frame: FrameType | None) -> None:
    shield()
    _came.append(number)
    raise Interrupted(number)


def _later(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    # Not through sys.stderr: the handler may have interrupted a write to it.
    os.write(2, b"harness: still cleaning up, a moment please\n")
