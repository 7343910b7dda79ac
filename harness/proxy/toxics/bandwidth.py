"""bandwidth: at most `rate` KB/s (1 KB = 1000 bytes)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.proxy.timers import NEVER_NS
from harness.proxy.toxics.base import FORWARD, NS_PER_MS, RECEIVE, Chunk, Forward, Pipe, Tap, Toxic, Until, toxic

SLICE_MS = 100
_LATE_NS = 2 * NS_PER_MS
"""A timer that wakes up to this much late is made up for; longer gaps are idle line, which is not saved up."""


@toxic("bandwidth")
@dataclass(frozen=True)
class BandwidthToxic(Toxic):
    """`rate` in KB/s; 0 lets nothing pass."""

    rate: int = 0

    def pipe(self, tap: Tap) -> Pipe:
        """Pass each chunk on when a line of this rate would have carried it; in slices of 100 ms when that is long."""
        free_ns = 0
        while isinstance(chunk := (yield RECEIVE), Chunk):
            if self.rate == 0:
                yield Until(NEVER_NS)
            left = chunk.size
            while left:
                now_ns = tap.now_ns()
                if now_ns - free_ns > _LATE_NS:
                    free_ns = now_ns
                size = min(left, self.rate * SLICE_MS)
                free_ns += size * NS_PER_MS // self.rate
                yield Until(free_ns)
                left -= size
                yield Forward(size) if left else FORWARD

    def problem(self) -> str:
        """The real server crashes on a negative rate."""
        return f"rate must not be negative, got {self.rate}" if self.rate < 0 else ""
