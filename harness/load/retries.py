"""What clients do after a failed attempt: the retry policies of the plan, at work in one load worker."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from harness.clock import NS
from harness.plan import Retry, RetryStorm

RETRYABLE: Final = frozenset({"timeout", "connect", "reset", "protocol", "http_5xx"})
"""The error words after which a client retries; so it does after status 429, and after nothing else."""

BUDGET_BURST: Final = 10.0
"""The retries a budget holds at most, and at the start: what a client can spend at once after a calm time."""

_TOO_MANY_REQUESTS: Final = 429


class Retries:
    """Decides on retries for all virtual users of a worker; one instance per worker, since they share the budgets.

    A budget is a token bucket per request name: each arrival adds `budget` of a token, each retry takes one. `storms`
    may come and go; while one is on, `storm_failed` counts the arrivals whose first attempt failed, `storm_retries` the
    attempts that followed.
    """

    def __init__(
        self, policies: Mapping[str, Retry], seed: int, storms: Mapping[str, RetryStorm] | None = None
    ) -> None:
        self._storms = {} if storms is None else storms
        self.storm_failed = 0
        self.storm_retries = 0
        self._policies = {
            name: _Policy(policy, random.Random(f"{seed}:jitter:{name}"))
            for name, policy in policies.items()
            if policy.policy != "none" and policy.limit > 0
        }

    def arrived(self, name: str) -> None:
        """Count an arrival towards the budget of its request name."""
        policy = self._policies.get(name)
        if policy is not None:
            policy.deposit()

    def wait_ns(self, name: str, attempt: int, status: int, error: str, end_ns: int) -> int | None:
        """How long to wait before the next attempt, after attempt `attempt` (from 0) ended so; None: don't retry.

        A number that is returned is spent: the budget's token is taken.
        """
        if error not in RETRYABLE and status != _TOO_MANY_REQUESTS:
            return None
        for storm in self._storms.values():
            if storm.start_ns <= end_ns < storm.end_ns and (not storm.endpoints or name in storm.endpoints):
                return self._at_once(storm, attempt)
        policy = self._policies.get(name)
        return None if policy is None else policy.wait_ns(attempt)

    def storming(self, at_ns: int) -> bool:
        """Whether a storm is on."""
        return any(storm.start_ns <= at_ns < storm.end_ns for storm in self._storms.values())

    def _at_once(self, storm: RetryStorm, attempt: int) -> int | None:
        self.storm_failed += attempt == 0
        if attempt >= storm.limit:
            return None
        self.storm_retries += 1
        return 0


class _Policy:
    __slots__ = ("_jitter", "_retry", "_tokens")

    def __init__(self, retry: Retry, jitter: random.Random) -> None:
        self._retry = retry
        self._jitter = jitter
        self._tokens = BUDGET_BURST

    def deposit(self) -> None:
        if self._retry.budget is not None:
            self._tokens = min(BUDGET_BURST, self._tokens + self._retry.budget)

    def wait_ns(self, attempt: int) -> int | None:
        retry = self._retry
        if attempt >= retry.limit:
            return None
        if retry.budget is not None:
            if self._tokens < 1.0:
                return None
            self._tokens -= 1.0
        if retry.policy == "immediate":
            return 0
        ceiling_s = min(retry.cap_s, retry.base_s * 2.0**attempt)
        return int(self._jitter.uniform(0.0, ceiling_s) * NS)
