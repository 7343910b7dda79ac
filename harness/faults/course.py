"""What a fault goes on doing after it was injected: steps with waits between them, in a thread, until it is halted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

CHECK_S = 0.02


class Halted(Exception):
    """The course is over before its last step; raised out of its waits."""


class Course:
    """`steps` in a thread of its own; they wait only by `wait` and `wait_until`, which `halt` cuts short.

    A step in progress is finished, so each should take well under a second.
    """

    def __init__(self, steps: Callable[[], None]) -> None:
        self._steps = steps
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="fault-course", daemon=True)

    def start(self) -> None:
        """Begin with the first step."""
        self._thread.start()

    def halt(self) -> None:
        """Return when no further step is made. Raises what a step raised."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float) -> None:
        """For a step: wait. Raises Halted."""
        if self._over.wait(max(0.0, seconds)):
            raise Halted

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = float("inf")) -> bool:
        """For a step: wait until the condition holds (True) or the time is up (False). Raises Halted."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self.wait(CHECK_S)
        return True

    def _run(self) -> None:
        try:
            self._steps()
        except Halted:
            return
        except Exception as error:  # noqa: BLE001  raised again by `halt`, in the thread that may tell the user
            self._error = error
