"""What an interposer does to requests: answer some itself, limit their rate, or dribble the answers' bodies."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """The request is answered like this and gets no further."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dribble:
    """The answer's body is to take so long."""

    takes_s: float


class Rule(Protocol):
    """Treats one request after the other."""

    def treat(self) -> Reply | Dribble | None:
        """What is to happen to the next request; None: nothing."""


@dataclass(slots=True)
class Some:
    """`treatment` for a share of the requests, drawn."""

    treatment: Reply | Dribble
    share: float
    draw: random.Random

    def treat(self) -> Reply | Dribble | None:
        """Drawn for this request."""
        return self.treatment if self.draw.random() < self.share else None


@dataclass(slots=True)
class Limit:
    """A token bucket: `per_s` requests a second are let through, `burst` at once after a pause; the rest is refused."""

    refusal: Reply
    per_s: float
    burst: float
    _tokens: float = 0.0
    _at_s: float = 0.0

    def treat(self, now_s: float | None = None) -> Reply | None:
        """For a request that comes now (on the monotonic clock)."""
        now_s = time.monotonic() if now_s is None else now_s
        # The bucket is full when the first request comes.
        self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_s) if self._at_s else self.burst
        self._at_s = now_s
        if self._tokens < 1.0:
            return self.refusal
        self._tokens -= 1.0
        return None


def make_rule(spec: Mapping[str, Any], seed: str, *, sparing: bool = False) -> Rule:
    """The rule of `{"do": "reply", "status", "share"}`, `{"do": "limit", "per_s", "retry_after_s"}` or
    `{"do": "dribble", "takes_s", "share"}`. `sparing`: a limit lets one request through a second.
    """
    match spec["do"]:
        case "reply":
            return Some(Reply(spec["status"]), spec["share"], random.Random(seed))
        case "dribble":
            return Some(Dribble(spec["takes_s"]), spec["share"], random.Random(seed))
        case "limit":
            refusal = Reply(429, {"Retry-After": str(spec["retry_after_s"])})
            per_s = 1.0 if sparing else float(spec["per_s"])
            return Limit(refusal, per_s, burst=max(1.0, per_s))
        case unknown:
            raise ValueError(f"there is no rule {unknown!r}")
