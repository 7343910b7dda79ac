from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import Poisson, Rate, Uniform
from harness.shapes import Segment, Steps, Wave

RATES = st.one_of(st.just(0.0), st.floats(0.0, 300.0))


@st.composite
def rates(draw) -> Rate:
    start = draw(st.floats(0, 5))
    pieces = []
    for _ in range(draw(st.integers(1, 5))):
        end = start + draw(st.floats(0.01, 4))
        pieces.append(draw(st.sampled_from([segment, wave, steps]))(draw, start, end))
        start = end + draw(st.sampled_from([0.0, 0.0, 1.5]))
    return Rate(tuple(pieces))


def segment(draw, start, end) -> Segment:
    return Segment(start, end, draw(RATES), draw(RATES))


def wave(draw, start, end) -> Wave:
    mean = draw(RATES)
    return Wave(start, end, mean, mean * draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.floats(0.01, 10)))


def steps(draw, start, end) -> Steps:
    times = [start, *(start + (end - start) * k / 4 for k in (1, 2, 3))]
    return Steps(end, array("d", times), array("d", [draw(RATES) for _ in times]))


@given(rates(), st.floats(0, 1))
def test_instant_inverts_the_cumulative_rate(rate, share):
    expected = share * rate.total
    if expected < rate.total:
        instant = rate.instant(expected)
        assert rate.start_s <= instant <= rate.end_s
        assert rate.cumulative(instant) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(rates(), st.lists(st.floats(0, 1.2)))
def test_instants_are_those_of_each_number_until_one_is_never_due(rate, shares):
    expected = sorted(share * rate.total for share in shares)
    assert list(rate.instants(expected)) == [rate.instant(number) for number in expected if number < rate.total]


@given(rates(), st.lists(st.floats(0, 30), min_size=2))
def test_the_cumulative_rate_never_falls(rate, times):
    assert all(a <= b + 1e-9 for a, b in pairwise(rate.cumulative(t) for t in sorted(times)))


@given(rates(), st.floats(0, 30))
def test_no_rate_is_above_the_peak(rate, t):
    assert rate.at(t) + 1e-9 >= 0
    assert rate.at(t) <= rate.peak + 1e-9


@given(rates())
def test_uniform_arrivals_count_what_the_rate_expects(rate):
    instants = list(Uniform(rate))
    assert abs(len(instants) - rate.total) <= 0.5 + 1e-6
    check_order(instants, rate)


@given(rates(), st.integers())
def test_poisson_arrivals_are_in_order_and_where_the_rate_is(rate, seed):
    instants = list(Poisson(rate, seed))
    check_order(instants, rate)
    assert instants == list(Poisson(rate, seed))


def check_order(instants, rate):
    assert all(a <= b for a, b in pairwise(instants))
    assert all(any(s.start_s <= t <= s.end_s and s.total > 0 for s in rate.segments) for t in instants)
