"""timeout: no data gets through; the connection closes after `timeout` ms without any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.proxy.toxics.base import NS_PER_MS, RECEIVE, Chunk, Pipe, Receive, Tap, Toxic, toxic


@toxic("timeout")
@dataclass(frozen=True)
class TimeoutToxic(Toxic):
    """`timeout` in ms; 0 never closes. Each chunk restarts it. Removing the toxic closes the connection."""

    timeout: int = 0

    REMOVAL_CLOSES: ClassVar[bool] = True

    def pipe(self, tap: Tap) -> Pipe:  # noqa: ARG002
        """Drop what comes until nothing does for long enough."""
        receive = Receive(within_ns=self.timeout * NS_PER_MS) if self.timeout > 0 else RECEIVE
        while isinstance((yield receive), Chunk):
            pass
