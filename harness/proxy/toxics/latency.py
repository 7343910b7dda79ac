"""latency: every chunk arrives `latency` +- `jitter` ms later than it would have; order is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.proxy.toxics.base import FORWARD, NS_PER_MS, RECEIVE, Chunk, Pipe, Tap, Toxic, Until, toxic

JITTER_LIMIT_MS = 2**62


@toxic("latency")
@dataclass(frozen=True)
class LatencyToxic(Toxic):
    """`latency` and `jitter` in ms; the delay is uniform in [latency - jitter, latency + jitter)."""

    latency: int = 0
    jitter: int = 0

    CAPACITY_BYTES: ClassVar[int] = 8 * 1024 * 1024
    """What is on its way: bounds the throughput of one connection to 8 MiB per `latency`."""

    def pipe(self, tap: Tap) -> Pipe:
        """Hold each chunk until its own arrival plus a delay, however long the ones before it were held."""
        while isinstance(chunk := (yield RECEIVE), Chunk):
            delay_ms = self.latency
            if self.jitter > 0:
                delay_ms += tap.random.randrange(-self.jitter, self.jitter)
            due_ns = chunk.arrived_ns + delay_ms * NS_PER_MS
            yield Until(due_ns)
            chunk.arrived_ns = max(due_ns, chunk.arrived_ns)  # so that a second latency toxic adds to this one
            yield FORWARD

    def problem(self) -> str:
        """The real server crashes on a jitter whose double is no 64-bit integer."""
        return f"jitter must be below {JITTER_LIMIT_MS}, got {self.jitter}" if self.jitter >= JITTER_LIMIT_MS else ""
