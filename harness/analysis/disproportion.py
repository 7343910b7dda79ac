"""Whether more failed than was touched: a share of arrivals beyond that of the endpoints that need what was broken."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.cells import ALL, Pair
from harness.analysis.effects import failure_effect
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Evidence, Interval


def judge_disproportion(pairs: Mapping[str, Pair], paths: Mapping[str, bool | None], seconds: Seconds) -> Evidence:
    """The failed share of all arrivals in the fault window against the share whose endpoint has a declared path."""
    effect = failure_effect(pairs[ALL], seconds.during)
    if effect is None:
        return Evidence("share", None, "No arrivals while the fault was on.")
    if not paths or None in paths.values():
        return Evidence("share", None, "Which arrivals the fault could touch is not declared for every endpoint.")
    arrivals = {name: int(pair.fault.arrivals[seconds.during].sum()) for name, pair in pairs.items()}
    touched = sum(arrivals[name] for name, path in paths.items() if path) / arrivals[ALL]
    failed = effect.change
    text = (
        f"{failed.value:.0%} more of all arrivals failed (at least {max(0.0, failed.low):.0%}); "
        f"{touched:.0%} were to endpoints with a declared path to what was broken."
    )
    return Evidence("share", failed.low > touched, text, "", failed.value, Interval(failed.low, failed.high))
