"""noop: passes everything on. Present in the real server, and a toxic to measure the machinery with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.proxy.toxics.base import FORWARD, RECEIVE, Chunk, Pipe, Tap, Toxic, toxic


@toxic("noop")
@dataclass(frozen=True)
class NoopToxic(Toxic):
    """No settings."""

    def pipe(self, tap: Tap) -> Pipe:  # noqa: ARG002
        """Pass each chunk on as it comes."""
        while isinstance((yield RECEIVE), Chunk):
            yield FORWARD
