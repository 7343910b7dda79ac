import time

import pytest
from shop.breaker import Breaker
from shop.dependency import Dependency
from shop.errors import Unavailable
from shop.metrics import Metrics


class Broken(Exception):
    pass


@pytest.fixture
def metrics():
    return Metrics()


def dependency(metrics, **options):
    return Dependency("auth", metrics, failures=(Broken,), **{"breaker": Breaker(0, 1.0), **options})


def outcomes(*each):
    """An operation that raises or returns one of these per call."""
    left = list(each)

    def operation():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return operation


def test_returns_what_the_operation_returns(metrics):
    assert dependency(metrics).call(outcomes("ok")) == "ok"
    assert b'attempts_total{to="auth"} 1.0' in metrics.page()
    assert b'dependency_seconds_count{to="auth"} 1.0' in metrics.page()


def test_retries_a_failure_and_counts_both_calls(metrics):
    assert dependency(metrics, retries=2).call(outcomes(Broken(), "ok")) == "ok"
    assert b'attempts_total{to="auth"} 2.0' in metrics.page()
    assert b'retries_total{to="auth"} 1.0' in metrics.page()
    assert b'failures_total{to="auth"} 1.0' in metrics.page()


def test_gives_up_after_its_retries_and_says_why(metrics):
    with pytest.raises(Unavailable, match="auth: Broken: third"):
        dependency(metrics, retries=2).call(outcomes(Broken("first"), Broken("second"), Broken("third")))
    assert b'attempts_total{to="auth"} 3.0' in metrics.page()


def test_waits_at_most_the_doubling_backoff(metrics, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(Unavailable):
        dependency(metrics, retries=3, backoff_s=0.1).call(outcomes(*[Broken()] * 4))
    assert len(waits) == 3
    assert all(0 <= wait <= limit for wait, limit in zip(waits, (0.1, 0.2, 0.4), strict=True))


def test_an_open_breaker_refuses_without_a_call(metrics):
    guarded = dependency(metrics, breaker=Breaker(1, 60.0))
    with pytest.raises(Unavailable, match="Broken"):
        guarded.call(outcomes(Broken()))
    with pytest.raises(Unavailable, match="circuit open"):
        guarded.call(outcomes())
    assert b'attempts_total{to="auth"} 1.0' in metrics.page()


def test_an_unexpected_exception_is_not_hidden_and_frees_the_trial(metrics):
    breaker = Breaker(1, 0.0)
    guarded = dependency(metrics, breaker=breaker, retries=5)
    with pytest.raises(ZeroDivisionError):
        guarded.call(outcomes(ZeroDivisionError()))
    assert breaker.is_open
    with pytest.raises(ZeroDivisionError):
        guarded.call(outcomes(ZeroDivisionError()))
    assert guarded.call(outcomes("ok")) == "ok"
