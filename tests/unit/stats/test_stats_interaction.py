"""The 2x2 interaction against ordinary least squares."""

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from harness.stats.interaction import interaction

CELLS = ([1.0, 1.2, 0.9], [1.4, 1.5, 1.3], [2.0, 2.2, 2.3], [4.1, 3.7, 4.4])


def test_it_is_the_coefficient_of_the_product_in_least_squares():
    load = np.repeat([0, 1, 0, 1], 3)
    fault = np.repeat([0, 0, 1, 1], 3)
    fitted = OLS(np.concatenate(CELLS), np.column_stack((np.ones(12), load, fault, load * fault))).fit()
    found = interaction(*CELLS)
    assert found.value == pytest.approx(fitted.params[3])
    assert found.error == pytest.approx(fitted.bse[3])
    assert found.p_value == pytest.approx(fitted.pvalues[3])
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(fitted.conf_int()[3]))
    assert found.freedom == 8


def test_one_run_per_cell_gives_a_number_and_no_interval():
    found = interaction([1.0], [1.5], [2.0], [4.0])
    assert found.value == pytest.approx(1.5)
    assert (found.interval, found.error, found.p_value) == (None, None, None)


def test_the_scale_matters():
    points = interaction([1.0] * 2, [2.0] * 2, [3.0] * 2, [6.0] * 2)
    logs = interaction(*(np.log(cell).tolist() for cell in ([1.0] * 2, [2.0] * 2, [3.0] * 2, [6.0] * 2)))
    assert points.value == pytest.approx(2)
    assert logs.value == pytest.approx(0, abs=1e-12)


def test_cells_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="same number of runs"):
        interaction([1.0], [1.0, 2.0], [1.0], [1.0])
