from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import Poisson, Rate, Uniform
from harness.shapes import Segment

RATES = st.one_of(st.just(0.0), st.floats(0.0, 300.0))


@st.composite
def rates(draw) -> Rate:
    start = draw(st.floats(0, 5))
    segments = []
    for _ in range(draw(st.integers(1, 5))):
        end = start + draw(st.floats(0.01, 4))
        segments.append(Segment(start, end, draw(RATES), draw(RATES)))
        start = end + draw(st.sampled_from([0.0, 0.0, 1.5]))
    return Rate(tuple(segments))


@given(rates(), st.floats(0, 1))
def test_instant_inverts_the_cumulative_rate(rate, share):
    expected = share * rate.total
    if expected < rate.total:
        instant = rate.instant(expected)
        assert rate.segments[0].start_s <= instant <= rate.segments[-1].end_s
        assert rate.cumulative(instant) == pytest.approx(expected, rel=1e-6, abs=1e-6)


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
    assert all(
        any(s.start_s <= t <= s.end_s and s.rate_start + s.rate_end > 0 for s in rate.segments) for t in instants
    )
