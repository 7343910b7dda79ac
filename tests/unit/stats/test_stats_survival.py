"""The product-limit estimate against statsmodels, and its quantiles."""

import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from harness.stats.survival import kaplan_meier


# Where all have ended statsmodels takes the logarithm of zero on its way to "no limit".
@pytest.mark.filterwarnings("ignore::RuntimeWarning:statsmodels")
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_statsmodels(seed):
    rng = np.random.default_rng(seed)
    lasted, ended = rng.integers(1, 20, 25).astype(float), rng.random(25) < 0.7
    ours, theirs = kaplan_meier(lasted.tolist(), ended.tolist()), SurvfuncRight(lasted, ended.astype(int))
    assert ours.times == tuple(theirs.surv_times)
    assert ours.share == pytest.approx(theirs.surv_prob)
    median, low, high = ours.quantile()
    below, above = theirs.quantile_ci(0.5, method="cloglog")
    assert median == theirs.quantile(0.5)
    assert (low, high if high is not None else np.inf) == (below, above)


def test_what_was_not_seen_to_end_is_no_end():
    assert kaplan_meier([30.0, 30.0, 30.0], [False] * 3).quantile() == (None, None, None)
    median, low, high = kaplan_meier([5.0, 6.0, 60.0], [True, True, False]).quantile()
    assert (median, low, high) == (6.0, 5.0, None)
    assert kaplan_meier([5.0, 60.0, 60.0], [True, False, False]).quantile()[0] is None


def test_an_impossible_duration_is_refused():
    for durations in ([], [-1.0], [float("nan")]):
        with pytest.raises(ValueError, match="at least one duration"):
            kaplan_meier(durations, [True] * len(durations))
