"""Laws that every estimate keeps, whatever the counts."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.logbins import MIDDLES_MS, bin_of, quantile_bin, quantile_estimate
from harness.stats.noise import measure
from harness.stats.proportions import newcombe, ratio, wilson


@st.composite
def counts(draw):
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


@given(counts(), st.floats(0.5, 10))
def test_wilson_contains_its_share_and_stays_in_the_unit_interval(count, critical):
    found = wilson(*count, critical)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(counts(), counts())
def test_newcombe_is_antisymmetric_and_bounded(one, other):
    there, back = newcombe(*one, *other), newcombe(*other, *one)
    assert math.isclose(there.low, -back.high, abs_tol=1e-12)
    assert -1 <= there.low <= there.value <= there.high <= 1


@given(counts(), counts())
def test_newcombe_counted_in_failures_or_successes_is_the_same(one, other):
    failures = newcombe(*one, *other)
    successes = newcombe(one[1] - one[0], one[1], other[1] - other[0], other[1])
    assert math.isclose(failures.low, -successes.high, abs_tol=1e-9)


@given(counts(), counts(), st.floats(0.01, 100))
def test_a_ratio_does_not_depend_on_the_unit(one, other, factor):
    a, b = wilson(*one), wilson(*other)
    if b.value > 0:
        plain, scaled = ratio(a, b), ratio(a.scaled(factor), b.scaled(factor))
        assert math.isclose(plain.value, scaled.value, rel_tol=1e-9)
        assert math.isclose(plain.low, scaled.low, rel_tol=1e-6, abs_tol=1e-12)
        assert plain.low <= plain.value <= plain.high


@given(st.lists(st.integers(10_000, 10**12), min_size=1, max_size=200), st.floats(0.01, 0.999))
def test_a_quantile_is_within_half_a_percent_of_the_data(values, share):
    histogram = np.bincount(bin_of(np.array(values)), minlength=len(MIDDLES_MS))
    rank = max(1, math.ceil(share * len(values) - 1e-9))
    exact_ms = sorted(values)[rank - 1] / 1e6
    assert math.isclose(MIDDLES_MS[quantile_bin(histogram, share)], exact_ms, rel_tol=0.0051)
    found = quantile_estimate(histogram, MIDDLES_MS, share, len(values), 1.96)
    assert found.low <= found.value <= found.high


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(20, 60)), min_size=4, max_size=60))
def test_noise_does_not_depend_on_what_counts_as_an_event(cells):
    happened, arrivals = (np.array(values) for values in zip(*cells, strict=True))
    one, other = measure([(happened, arrivals)]), measure([(arrivals - happened, arrivals)])
    assert one.design_effect >= 1
    assert math.isclose(one.design_effect, other.design_effect, rel_tol=1e-6)
