"""One number against its margin: what lasts is beyond doubt, what a few seconds make is not."""

import numpy as np
import pytest
from test_analysis_effects import WINDOW, cells, pair

from harness.analysis.decision import decide
from harness.expectations import parse

SLOWER = parse("p95 increases by < 20%")


def outcome(slow_seconds):
    still, slow = np.zeros(60, dtype=int), np.full(60, 20.0)
    slow[WINDOW.start : WINDOW.start + slow_seconds] = 90.0
    return decide(SLOWER, pair(cells(still), cells(still, slow)), WINDOW, 10.0)


def test_an_overwhelming_rise_that_lasts_fails_beyond_doubt():
    found = outcome(10)
    assert (found.outcome, found.beyond_doubt) == ("fail", True)


@pytest.mark.parametrize("slow_seconds", [1, 3])
def test_a_rise_made_by_a_few_seconds_is_not_beyond_doubt(slow_seconds):
    found = outcome(slow_seconds)
    assert found.effect.relative.value == pytest.approx(3.5, rel=0.02)
    assert not found.beyond_doubt


def test_many_more_errors_fail_beyond_doubt_at_any_length():
    still = np.zeros(60, dtype=int)
    risen = still.copy()
    risen[WINDOW.start : WINDOW.start + 5] = 25
    found = decide(parse("error-rate increases by < 1pp"), pair(cells(still), cells(risen)), WINDOW, 10.0)
    assert (found.outcome, found.beyond_doubt) == ("fail", True)
