"""How much memory a replica holds, and a worker that leaves before it is too much.

At its limit a container is killed, in the middle of whatever it does. A worker that sees it coming stops as if it had
been told to, and gunicorn starts a fresh one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

_MB = 1_000_000
_LOOK_S = 0.1
_STATM = Path("/proc/self/statm")


def held_bytes() -> int:
    """What the file named by MEMORY_CURRENT says, such as a control group's; without one, what this process holds."""
    try:
        return int(Path(os.environ.get("MEMORY_CURRENT", "")).read_text(encoding="ascii"))
    except OSError:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Recycler:
    """Has a worker `leave` once it holds more than `at_mb`."""

    def __init__(self, at_mb: int, leave: Callable[[], None], held: Callable[[], int] = held_bytes) -> None:
        self._at_bytes = at_mb * _MB
        self._leave = leave
        self._held = held
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to watch, beside everything else."""
        threading.Thread(target=self._watch, name="recycler", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()

    def _watch(self) -> None:
        while self._held() <= self._at_bytes:
            if self._over.wait(_LOOK_S):
                return
        self._leave()
