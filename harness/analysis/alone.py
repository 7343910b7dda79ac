"""A baseline arm by itself: whether the load alone, spike included, did harm."""

from __future__ import annotations

from harness.analysis.arrivals import Arrivals
from harness.analysis.damage import ERROR_POINTS
from harness.analysis.verdict import Cascade, Evidence, Interval
from harness.stats.proportions import wilson


def judge_alone(baseline: Arrivals, warm_up_ns: int) -> Cascade:
    """`none` when no endpoint failed beyond 1 % after the warm-up; `unknown` when one did, or nothing was sent.

    Harm without a fault is no cascade: the system does not carry the load, which is another finding.
    """
    harmed, sent, failed = [], 0, 0
    for name, arrivals in baseline.only(baseline.intended_ns >= warm_up_ns).by_endpoint():
        count, bad = len(arrivals.failed), int(arrivals.failed.sum())
        share = wilson(bad, count)
        sent, failed = sent + count, failed + bad
        if share.low > ERROR_POINTS:
            text = f"{bad} of {count} requests to {name} failed without any fault."
            harmed.append(Evidence("load", True, text, name, share.value, Interval(share.low, share.high)))
    if not sent:
        return Cascade("unknown", "No fault was injected, and nothing was sent after the warm-up.", (), ())
    if harmed:
        names = ", ".join(one.endpoint for one in harmed)
        sentence = f"No fault was injected, and yet requests to {names} failed: the system does not carry this load."
        return Cascade("unknown", sentence, tuple(harmed), ())
    return Cascade(
        "none", f"No fault was injected; of {sent} requests {failed} failed, so the load alone does no harm.", (), ()
    )
