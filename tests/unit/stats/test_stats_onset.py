import numpy as np
import pytest

from harness.stats.onset import Departure, departure
from harness.stats.sliding import sliding_sums


@pytest.mark.parametrize("step", [4.0, 6.0, 20.0])
def test_a_clear_step_is_found_where_it_begins(step):
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(100):
        series = rng.normal(0, 1, 60)
        series[30:] += step
        found = departure(series.tolist(), 1.0)
        assert found is not None
        errors.append(abs(found.first - 30))
    assert np.median(errors) == 0
    assert np.quantile(errors, 0.9) <= 2


def test_noise_alone_seldom_departs():
    rng = np.random.default_rng(6)
    alarms = sum(departure(rng.normal(0, 1, 120).tolist(), 1.0) is not None for _ in range(200))
    assert alarms <= 4


def test_the_uncertainty_reaches_from_the_first_excess_to_the_alarm():
    assert departure([0, 0, 3, 3, 3, 3], 1.0) == Departure(2, 4)


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ValueError, match="positive scale"):
        departure([1.0], 0.0)


def test_sliding_sums():
    counts = np.arange(10).reshape(5, 2)
    assert sliding_sums(counts, 2).tolist() == [[2, 4], [6, 8], [10, 12], [14, 16]]
    assert sliding_sums(counts, 5).tolist() == [[20, 25]]
    assert sliding_sums(counts, 6).shape == (0, 2)
