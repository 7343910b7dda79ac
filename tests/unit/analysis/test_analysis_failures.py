"""Failed requests, counted from the fault's beginning on."""

import numpy as np

from harness.analysis.arrivals import Arrivals
from harness.analysis.failures import count_failures
from harness.analysis.verdict import Failures

NS = 1_000_000_000


def arm(*requests):
    """(endpoint, due at, took, failed) each, in seconds."""
    names = tuple(sorted({endpoint for endpoint, *_ in requests}))
    took = np.array([int(took * NS) for _, _, took, _ in requests], dtype=np.int64)
    return Arrivals(
        endpoint=np.array([names.index(endpoint) for endpoint, *_ in requests], dtype=np.int32),
        endpoint_names=names,
        intended_ns=np.array([int(due * NS) for _, due, _, _ in requests], dtype=np.int64),
        response_ns=took,
        felt_ns=took,
        failed=np.array([failed for *_, failed in requests], dtype=bool),
        attempts=np.ones(len(requests), dtype=np.int32),
        error=np.zeros(len(requests), dtype=np.int32),
        error_names=("",),
        censored=0,
    )


def test_what_was_in_flight_when_the_fault_began_counts_and_what_was_over_does_not():
    fault = arm(
        ("checkout", 9.0, 0.5, True),  # over before
        ("checkout", 9.9, 0.2, True),  # cut off
        ("checkout", 15.0, 0.1, False),
        ("catalog", 19.0, 0.1, True),
        ("catalog", 20.0, 0.1, True),  # due at the end, of which nothing is known any more
    )
    counted = count_failures(arm(("checkout", 12.0, 0.1, False)), fault, 10 * NS, 20 * NS)
    assert list(counted.values()) == [
        Failures("", 1, 0, 3, 2),
        Failures("catalog", 0, 0, 1, 1),
        Failures("checkout", 1, 0, 2, 1),
    ]
    assert list(counted) == ["", "catalog", "checkout"]


def test_arms_without_requests_have_nothing_that_failed():
    nothing = arm(("checkout", 0.0, 0.1, True))
    assert count_failures(nothing, nothing, NS, 2 * NS) == {"": Failures("", 0, 0, 0, 0)}
