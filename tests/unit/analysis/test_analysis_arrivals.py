from types import SimpleNamespace

import numpy as np
import pytest

from harness.analysis.arrivals import client_timeout_ns, join_attempts

ERRORS = ("", "timeout", "http_5xx", "dropped", "aborted")
S = 1_000_000_000


def samples(*rows, names=("catalog", "checkout")):
    """Rows of (seq, attempt, first_seq, endpoint, intended s, end s, error)."""
    seq, attempt, first, endpoint, intended, end, error = zip(*rows, strict=True)
    ns = [(np.array(times) * S).astype(np.int64) for times in (intended, end)]
    return SimpleNamespace(
        seq=np.array(seq),
        attempt=np.array(attempt),
        first_seq=np.array(first),
        endpoint=np.array([names.index(name) for name in endpoint]),
        endpoint_names=names,
        intended_ns=ns[0],
        start_ns=ns[0],
        end_ns=ns[1],
        error=np.array([ERRORS.index(name) for name in error]),
        error_names=ERRORS,
    )


def test_the_last_attempt_decides_and_the_wait_counts_from_the_first():
    joined = join_attempts(
        samples(
            (0, 0, 0, "checkout", 1.0, 2.0, "timeout"),
            (1, 0, 1, "catalog", 1.5, 1.6, ""),
            (2, 1, 0, "checkout", 2.0, 2.5, ""),
        ),
        S,
    )
    assert joined.failed.tolist() == [False, False]
    assert (joined.response_ns / S).tolist() == [1.5, 0.1]
    assert joined.attempts.tolist() == [2, 1]


def test_a_failed_arrival_counts_as_the_timeout_at_least():
    joined = join_attempts(samples((0, 0, 0, "checkout", 1.0, 1.01, "http_5xx")), S)
    assert joined.felt_ns.tolist() == [S]
    assert joined.response_ns.tolist() == [10_000_000]


def test_aborted_is_a_failure_when_older_than_the_timeout_else_left_out():
    rows = samples(
        (0, 0, 0, "checkout", 1.0, 10.0, "aborted"),
        (1, 0, 1, "checkout", 9.5, 10.0, "aborted"),
        (2, 0, 2, "checkout", 2.0, 2.1, ""),
    )
    joined = join_attempts(rows, S)
    assert (joined.failed.tolist(), joined.censored) == ([True, False], 1)
    assert join_attempts(rows, None).censored == 2


def test_dropped_is_a_failure_but_no_attempt():
    joined = join_attempts(samples((0, 0, 0, "checkout", 1.0, 1.2, "dropped")), S)
    assert joined.failed.tolist() == [True]
    assert joined.attempts.tolist() == [0]


def test_arrivals_by_endpoint_are_in_alphabetical_order():
    joined = join_attempts(
        samples(
            (0, 0, 0, "pay", 1, 2, ""),
            (1, 0, 1, "browse", 1, 2, ""),
            (2, 0, 2, "pay", 3, 4, ""),
            names=("pay", "browse"),
        ),
        S,
    )
    assert [(name, len(part.failed)) for name, part in joined.by_endpoint()] == [("browse", 1), ("pay", 2)]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ({"load": {"timeout": "250ms"}}, S // 4),
        ({"load": {"timeout": 2}}, 2 * S),
        ({"load": {"timeout": "soon"}}, 3 * S),
        ({"load": {}}, 3 * S),
        ({}, 3 * S),
    ],
)
def test_the_timeout_is_the_scenarios_else_that_of_the_attempts_that_timed_out(scenario, expected):
    arm = samples((0, 0, 0, "checkout", 1.0, 4.0, "timeout"), (1, 0, 1, "checkout", 1.0, 1.5, ""))
    assert client_timeout_ns(scenario, [arm]) == expected


def test_without_any_hint_there_is_no_timeout():
    assert client_timeout_ns({}, [samples((0, 0, 0, "checkout", 1.0, 1.5, ""))]) is None
