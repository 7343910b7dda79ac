import numpy as np
import pytest

from harness.stats.logbins import EDGES_NS, MIDDLES_MS, bin_of, fewest_for, quantile_bin, quantile_estimate


def histogram(values_ms):
    return np.bincount(bin_of((np.asarray(values_ms) * 1e6).astype(np.int64)), minlength=len(MIDDLES_MS))


def test_every_value_is_within_half_a_percent_of_its_bin():
    values_ns = np.unique(
        np.concatenate((EDGES_NS[:-1], EDGES_NS[1:] - 1, np.geomspace(1e4, 9e12, 5000).astype(np.int64)))
    )
    error = np.abs(MIDDLES_MS[bin_of(values_ns)] * 1e6 / values_ns - 1)
    assert error.max() <= 0.005


def test_values_outside_the_range_go_to_the_end_bins():
    assert bin_of(np.array([0, 9_999]))[1] == 0
    assert bin_of(np.array([10**15]))[0] == len(MIDDLES_MS) - 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_quantiles_agree_with_numpy_to_half_a_percent(share):
    values = np.random.default_rng(3).lognormal(3, 1, 4000)
    found = MIDDLES_MS[quantile_bin(histogram(values), share)]
    assert found == pytest.approx(np.quantile(values, share, method="inverted_cdf"), rel=0.0051)


def test_quantiles_of_many_histograms_at_once():
    rows = np.stack([histogram([1, 1, 1]), np.zeros(len(MIDDLES_MS), dtype=int), histogram([5, 500])])
    bins = quantile_bin(rows, 0.5)
    assert bins[1] == -1
    assert MIDDLES_MS[bins[[0, 2]]] == pytest.approx([1, 5], rel=0.005)


def test_the_quantile_interval_covers_the_truth():
    rng = np.random.default_rng(11)
    truth = np.exp(3 + 1.6448536 * 0.5)
    hits = 0
    for _ in range(300):
        found = quantile_estimate(histogram(rng.lognormal(3, 0.5, 600)), MIDDLES_MS, 0.95, 600, 1.96)
        hits += found.low * 0.995 <= truth <= found.high * 1.005
    assert 0.91 <= hits / 300 <= 0.99


def test_an_empty_histogram_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        quantile_estimate(np.zeros(4, dtype=int), MIDDLES_MS[:4], 0.95, 10, 1.96)


@pytest.mark.parametrize(("share", "fewest"), [(0.95, 59), (0.99, 299), (0.999, 2995), (0.5, 20)])
def test_floors_on_effective_observations(share, fewest):
    assert fewest_for(share) == fewest
