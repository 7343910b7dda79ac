"""reset_peer: `timeout` ms after data (or the end) comes its way, both sockets are reset (RST)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.proxy.toxics.base import NS_PER_MS, RECEIVE, RESET, Pipe, Tap, Toxic, Until, toxic


@toxic("reset_peer")
@dataclass(frozen=True)
class ResetToxic(Toxic):
    """`timeout` in ms; 0 resets at once."""

    timeout: int = 0

    def pipe(self, tap: Tap) -> Pipe:
        """Wait for anything, then for `timeout`, then reset; nothing is passed on."""
        yield RECEIVE
        yield Until(tap.now_ns() + self.timeout * NS_PER_MS)
        yield RESET
