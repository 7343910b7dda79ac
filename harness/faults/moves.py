"""Calls into a fault that may hang: each in a thread of its own, so that none holds up taking the fault back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from harness.clock import NS, now_ns

CHECK_S = 0.02
NEVER = threading.Event()
"""What is never set: for waits that nothing cuts short."""


class Move:
    """A call that has been started. One that never returns is left to itself, and ends with the process."""

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self.error: Exception | None = None
        self._call = call
        self._over = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def returned(self, within_s: float, cut_short: threading.Event = NEVER) -> bool:
        """Wait until it has returned or raised (see `error`), at most so long and until `cut_short`; whether it has."""
        deadline_ns = now_ns() + int(within_s * NS)
        while not self._over.wait(min(CHECK_S, max(0.0, (deadline_ns - now_ns()) / NS))):
            if cut_short.is_set() or now_ns() >= deadline_ns:
                return False
        return True

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:  # noqa: BLE001  a call of any make; whoever waits for it looks at the error
            self.error = error
        self._over.set()


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether an effect was seen; `trouble` is what the last look for it raised, if anything."""

    seen: bool
    trouble: str = ""


def look_for(effect: Callable[[], bool], within_s: float, cut_short: threading.Event = NEVER) -> Sight:
    """Look again and again until the effect is seen, at most so long and until `cut_short`.

    A look that raises has not seen it.
    """
    enough = threading.Event()
    trouble: list[str] = []

    def look() -> None:
        while not enough.is_set():
            try:
                if effect():
                    return
            except Exception as error:  # noqa: BLE001  told with the sight, when it stays the last word
                trouble[:] = [f"{type(error).__name__}: {error}"]
            else:
                trouble.clear()
            enough.wait(CHECK_S)

    move = Move(look, "look")
    seen = move.returned(within_s, cut_short)
    enough.set()
    return Sight(seen, "" if seen else "".join(trouble))
