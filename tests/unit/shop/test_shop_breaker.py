import pytest
from shop.breaker import Breaker


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def fail(breaker, times):
    for _ in range(times):
        assert breaker.admit()
        breaker.failed()


def test_opens_after_the_limit_of_failures_in_a_row(clock):
    breaker = Breaker(3, 1.0, clock)
    fail(breaker, 2)
    assert not breaker.is_open
    fail(breaker, 1)
    assert breaker.is_open
    assert not breaker.admit()


def test_a_success_starts_the_count_again(clock):
    breaker = Breaker(3, 1.0, clock)
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert not breaker.is_open


def test_lets_one_trial_through_after_the_reset_time(clock):
    breaker = Breaker(1, 1.0, clock)
    fail(breaker, 1)
    clock.now_s = 0.999
    assert not breaker.admit()
    clock.now_s = 1.0
    assert breaker.state == 2
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    assert breaker.is_open
    assert breaker.state == 1


def test_the_trials_success_closes_it(clock):
    breaker = Breaker(1, 1.0, clock)
    fail(breaker, 1)
    clock.now_s = 1.0
    assert breaker.admit()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.state == 0
    assert breaker.admit()


def test_the_trials_failure_opens_it_for_as_long_again(clock):
    breaker = Breaker(1, 1.0, clock)
    fail(breaker, 1)
    clock.now_s = 1.0
    fail(breaker, 1)
    clock.now_s = 1.999
    assert not breaker.admit()
    clock.now_s = 2.0
    assert breaker.admit()


def test_limit_zero_never_opens(clock):
    breaker = Breaker(0, 1.0, clock)
    fail(breaker, 1000)
    assert not breaker.is_open
