"""Time to recovery on hand-made seconds."""

import numpy as np
import pytest

from harness.analysis.arrivals import Arrivals
from harness.analysis.cells import count_pairs
from harness.analysis.experiment import Experiment, Window
from harness.analysis.recovery import UNKNOWN, measure_recovery, needed_s, over_repeats
from harness.analysis.seconds import cut_seconds
from harness.analysis.verdict import Interval, Recovery

NS = 10**9
CLEAR_S = 10


def arm(seconds, failed=None, slow_ms=None, rate=40):
    """`rate` arrivals every second; in second s a share `failed[s]` fails and all take `slow_ms[s]` (20 ms else)."""
    at = np.repeat(np.arange(seconds), rate)
    within = np.tile(np.arange(rate), seconds)
    bad = within < np.array([(failed or {}).get(s, 0.0) * rate for s in range(seconds)])[at]
    ms = np.array([(slow_ms or {}).get(s, 20.0) for s in range(seconds)])[at]
    response = (ms * 1e6).astype(np.int64)
    return Arrivals(
        endpoint=np.zeros(len(at), dtype=np.int64),
        endpoint_names=("checkout",),
        intended_ns=at * NS + within * (NS // rate),
        response_ns=response,
        felt_ns=np.where(bad, np.maximum(response, NS), response),
        failed=bad,
        attempts=np.ones(len(at), dtype=np.int64),
        error=bad.astype(np.int64),
        error_names=("", "http_5xx"),
        censored=0,
    )


def healing(seconds, failed=None, slow_ms=None, rate=40):
    window = Window(5 * NS, CLEAR_S * NS, True, ("f",), ("redis",), ())
    experiment = Experiment("b", "f", window, 0, seconds * NS, seconds * NS, (), False, "")
    cut = cut_seconds(experiment)
    pairs = count_pairs(arm(seconds, rate=rate), arm(seconds, failed, slow_ms, rate), cut, [], [], NS)
    return measure_recovery(pairs, cut)


def test_undisturbed_seconds_are_recovered_at_once():
    assert healing(40).recovery.seconds == 0.0


def test_recovery_is_the_start_of_the_first_ten_good_seconds():
    found = healing(40, failed=dict.fromkeys(range(10, 14), 0.5))
    assert found.recovery.seconds == 4.0
    assert found.recovery.per_endpoint == {"checkout": 4.0}


def test_nine_good_seconds_between_bad_ones_do_not_count():
    found = healing(50, failed={10: 0.5, 20: 0.5, 21: 0.5})
    assert found.recovery.seconds == 12.0


def test_slow_seconds_count_as_not_recovered():
    assert healing(40, slow_ms=dict.fromkeys(range(10, 16), 60.0)).recovery.seconds == pytest.approx(6.0, abs=1)


def test_a_little_slower_is_good_enough():
    assert healing(40, slow_ms=dict.fromkeys(range(10, 40), 29.0)).recovery.seconds == 0.0


def test_one_failed_arrival_does_not_spoil_a_second():
    assert healing(40, failed={12: 1 / 40}).recovery.seconds == 0.0


def test_three_failed_arrivals_every_second_do():
    found = healing(40, failed=dict.fromkeys(range(10, 40), 3 / 40))
    assert (found.recovery.recovered, found.recovery.censored, found.recovery.seconds) == (False, True, 30.0)


def test_a_short_record_counts_half_of_what_was_watched():
    found = healing(18, failed=dict.fromkeys(range(10, 13), 0.5))
    assert (found.recovery.seconds, found.seen_good_s, found.watched_s) == (3.0, 5, 8)
    late = healing(18, failed=dict.fromkeys(range(10, 16), 0.5))
    assert (late.recovery.recovered, late.seen_good_s) == (False, 2)


@pytest.mark.parametrize(("watched", "needed"), [(3, 3), (5, 3), (8, 4), (12, 6), (19, 9.5), (20, 10), (60, 10)])
def test_how_long_a_stretch_that_is_cut_short_must_be(watched, needed):
    assert needed_s(watched) == needed


def test_a_sharp_end_is_known_to_a_second():
    found = healing(40, failed=dict.fromkeys(range(10, 14), 0.5)).recovery
    assert found.interval == Interval(3.0, 4.0)


def test_an_end_that_fades_is_known_less_well():
    fading = {second: 0.4 - 0.01 * (second - 10) for second in range(10, 50)}
    found = healing(80, failed=fading).recovery
    assert found.interval.low < found.seconds <= found.interval.high
    assert found.interval.high - found.interval.low > 2


def test_what_was_not_seen_to_end_has_no_upper_limit():
    found = healing(40, failed=dict.fromkeys(range(10, 40), 0.5)).recovery
    assert found.interval == Interval(30.0, None)


def recovery(seconds, *, censored=False):
    return Recovery(not censored, seconds, censored, {"checkout": None if censored else seconds})


def test_repeats_give_a_median_in_which_the_censored_count():
    found = over_repeats([recovery(4.0), recovery(6.0), UNKNOWN, recovery(30.0, censored=True)])
    assert (found.recovered, found.seconds, found.interval) == (True, 6.0, Interval(4.0, None))
    assert found.per_endpoint == {"checkout": 6.0}


def test_repeats_that_mostly_did_not_recover_have_no_median():
    found = over_repeats([recovery(4.0), recovery(30.0, censored=True), recovery(60.0, censored=True)])
    assert (found.recovered, found.seconds, found.censored) == (False, 60.0, True)
    assert found.per_endpoint == {"checkout": None}
    assert over_repeats([UNKNOWN]) == UNKNOWN


def test_a_record_that_ends_with_the_fault_cannot_tell():
    assert healing(12).recovery.recovered is None
