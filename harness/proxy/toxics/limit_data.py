"""limit_data: closes the connection once `bytes` have passed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.proxy.toxics.base import FORWARD, RECEIVE, Chunk, Forward, Pipe, Tap, Toxic, toxic


@toxic("limit_data")
@dataclass(frozen=True)
class LimitDataToxic(Toxic):
    """`bytes`, counted per connection from when the toxic was added (a change of settings keeps the count)."""

    bytes: int = 0

    def pipe(self, tap: Tap) -> Pipe:
        """Pass on what the limit leaves; return, which closes, when it is reached."""
        while isinstance(chunk := (yield RECEIVE), Chunk):
            left = max(0, self.bytes - tap.passed)
            if chunk.size >= left:
                yield Forward(left)
                return
            yield FORWARD
