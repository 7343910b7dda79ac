"""Onsets of steps in correlated series, against the errors that simulation promises."""

import numpy as np
import pytest
from statsmodels.datasets import nile

from harness.stats.onset import Departure, departure, locate


def wandering(rng, length, phi):
    """A stationary AR(1) series of standard deviation 1."""
    series = np.zeros(length + 50)
    shocks = rng.normal(0, np.sqrt(1 - phi**2), length + 50)
    for at in range(1, length + 50):
        series[at] = phi * series[at - 1] + shocks[at]
    return series[50:]


def long_run(phi):
    return np.sqrt((1 + phi) / (1 - phi))


@pytest.mark.parametrize(
    ("step", "phi", "p90"),
    [
        (4, 0.0, 0),
        (4, 0.5, 0),
        (4, 0.8, 0),
        (2, 0.0, 2),
        (2, 0.5, 3),
        (2, 0.8, 16),
        (1, 0.0, 6),
        (1, 0.5, 27),
        (1, 0.8, 67),
    ],
)
def test_a_step_is_found_where_it_begins(step, phi, p90):
    rng = np.random.default_rng((step, round(10 * phi)))
    errors = []
    for _ in range(200):
        series = wandering(rng, 240, phi)
        series[120:] += step
        found = departure(series, long_run(phi), earliest=119)
        if found is not None:
            errors.append(abs(found.first - 120))
    assert len(errors) > (180 if step > 1 else 80 if phi < 0.8 else 20)
    assert np.quantile(errors, 0.9) <= p90
    assert np.median(errors) <= 1 or step == 1


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_a_series_that_keeps_its_level_seldom_departs(phi):
    """2 to 3 % false onsets, with a deviation that is estimated from 60 undisturbed seconds of both arms."""
    rng = np.random.default_rng(round(10 * phi))
    alarms = 0
    for _ in range(400):
        calm = [wandering(rng, 60, phi) for _ in range(2)]
        deviation = np.sqrt(np.mean([cosine(part, k) ** 2 for part in calm for k in range(1, 5)]))
        alarms += departure(wandering(rng, 120, phi), deviation, earliest=60, freedom=8) is not None
    assert alarms <= 16


def cosine(series, order):
    at = np.arange(len(series)) + 0.5
    return np.sqrt(2 / len(series)) * float(((series - series.mean()) * np.cos(np.pi * order * at / len(series))).sum())


def test_a_rise_that_ends_is_found_with_its_end():
    series = np.zeros(60)
    series[20:30] = 5.0
    assert departure(series, 1.0) == Departure(20, 30)


def test_of_a_rise_in_steps_the_first_counts():
    series = np.concatenate((np.zeros(30), np.full(10, 6.0), np.full(20, 60.0)))
    assert departure(series, 1.0) == Departure(30, 60)


def test_no_onset_is_earlier_than_it_may_be():
    series = np.concatenate((np.zeros(10), np.full(30, 5.0)))
    found = departure(series, 1.0, earliest=12)
    assert found is None or found.first >= 12


@pytest.mark.parametrize("series", [[], [1.0], [0.0] * 30, [5.0] * 30])
def test_without_a_rise_there_is_no_onset(series):
    assert departure(np.array(series), 1.0) is None


def test_fewer_degrees_of_freedom_ask_for_more():
    series = np.concatenate((np.zeros(30), np.full(30, 1.0)))
    assert departure(series, 1.0) is not None
    assert departure(series, 1.0, freedom=2) is None


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ValueError, match="positive deviation"):
        departure(np.ones(3), 0.0)


def test_each_row_is_split_for_itself():
    rows = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]], dtype=float)
    assert locate(rows, 0).tolist() == [2, 1, 4]
    assert locate(rows, 4).tolist() == [4, 4, 4]


def test_the_nile_fell_after_28_years():
    """The classic change point (Cobb, Biometrika 1978): Aswan, 1871 to 1970, lower from 1899 on."""
    flow = nile.load_pandas().data["volume"].to_numpy()
    found = departure(-flow, float(flow[:28].std(ddof=1)))
    assert found is not None
    assert (found.first, found.stop) == (28, len(flow))
