"""The one way in which the shop says no."""

from __future__ import annotations


class Unavailable(Exception):
    """Something a request needs can't be had now. Answered with 503 and `{"error": part, "reason": reason}`."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason
