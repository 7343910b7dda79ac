"""What abort conditions look at while load is driven: counts and a quantile of some arrivals, over the last second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.clock import NS
from harness.expectations import AbortCondition, parse_abort
from harness.load.gauges import RollingQuantile
from harness.load.spec import Seen

WINDOW_S: Final = 1.0


class Watch:
    """Follows the arrivals that one abort condition is about.

    As everywhere, response times count from the intended instant, a failed arrival's as the client's timeout at least.
    """

    __slots__ = ("_failed", "_finished", "_of", "_quantile", "_timeout_ns", "_times")

    def __init__(self, of: AbortCondition, timeout_s: float, turns: int) -> None:
        self._of = of
        self._timeout_ns = int(timeout_s * NS)
        self._quantile = of.quantile
        self._times = RollingQuantile(turns)
        self._finished = 0
        self._failed = 0

    def add(self, endpoint: str, took_ns: int, failed: bool) -> None:
        """An arrival is finished; `took_ns` is its response time."""
        of = self._of
        if of.endpoint and endpoint != of.endpoint:
            return
        self._finished += 1
        self._failed += failed
        if self._quantile is not None and not (failed and of.successes_only):
            self._times.add(max(took_ns, self._timeout_ns) if failed else took_ns)

    def read(self) -> Seen:
        """The counts so far, and the quantile of the last second; begins the next turn."""
        self._times.turn()
        quantile_ms = None if self._quantile is None else self._times.read_ms(self._quantile)
        return Seen(self._finished, self._failed, quantile_ms and round(quantile_ms, 3))


def watches(conditions: Iterable[str], timeout_s: float, interval_s: float) -> tuple[Watch, ...]:
    """One watch for each abort condition; each is read every `interval_s`."""
    return tuple(Watch(parse_abort(text), timeout_s, int(WINDOW_S / interval_s)) for text in conditions)
