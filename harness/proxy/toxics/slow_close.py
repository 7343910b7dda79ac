"""slow_close: the end of the stream is passed on `delay` ms late. Acts in its own direction only."""

from __future__ import annotations

from dataclasses import dataclass

from harness.proxy.toxics.base import FORWARD, NS_PER_MS, RECEIVE, Chunk, Pipe, Tap, Toxic, Until, toxic


@toxic("slow_close")
@dataclass(frozen=True)
class SlowCloseToxic(Toxic):
    """`delay` in ms."""

    delay: int = 0

    def pipe(self, tap: Tap) -> Pipe:
        """Pass data on at once; return, which closes, only `delay` after the end came."""
        while isinstance((yield RECEIVE), Chunk):
            yield FORWARD
        yield Until(tap.now_ns() + self.delay * NS_PER_MS)
