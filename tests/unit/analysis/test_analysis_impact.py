"""What share was hit at most and for how long, on hand-made seconds."""

import numpy as np

from harness.analysis.arrivals import Arrivals
from harness.analysis.cells import count_pairs
from harness.analysis.experiment import Experiment, Window
from harness.analysis.impact import measure_impact
from harness.analysis.seconds import cut_seconds

NS = 10**9
ENDPOINTS = ("catalog", "checkout")
RATE = 40
INJECTED_S, CLEAR_S, END_S = 10, 16, 40


def arm(failed=None, slow=None, seed=None):
    """40 arrivals a second at each endpoint; of (endpoint, second) a share fails, or takes 400 ms instead of 20."""
    second = np.repeat(np.arange(END_S), 2 * RATE)
    number = np.tile(np.arange(2 * RATE), END_S)
    endpoint = number % 2
    place = (number // 2 + 0.5) / RATE

    def share(of):
        table = np.zeros((2, END_S))
        for (name, at), value in (of or {}).items():
            table[ENDPOINTS.index(name), at] = value
        return table[endpoint, second]

    bad = place < share(failed)
    ms = np.where(place < share(slow), 400.0, 20.0)
    if seed is not None:
        rng = np.random.default_rng(seed)
        bad = rng.random(len(second)) < 0.01
        ms = ms * rng.lognormal(0, 0.5, len(second))
    response = (ms * 1e6).astype(np.int64)
    return Arrivals(
        endpoint=endpoint,
        endpoint_names=ENDPOINTS,
        intended_ns=second * NS + number * (NS // (2 * RATE)),
        response_ns=response,
        felt_ns=np.where(bad, np.maximum(response, NS), response),
        failed=bad,
        attempts=np.ones(len(second), dtype=np.int64),
        error=bad.astype(np.int64),
        error_names=("", "http_5xx"),
        censored=0,
    )


def impact(fault, baseline=None, window=True):
    seen = Window(INJECTED_S * NS, CLEAR_S * NS, True, ("f",), ("redis",), ()) if window else None
    cut = cut_seconds(Experiment("b", "f", seen, 0, END_S * NS, END_S * NS, (), False, ""))
    return measure_impact(count_pairs(baseline or arm(), fault, cut, [], [], NS), cut)


def test_nothing_is_hit_where_nothing_differs():
    found = impact(arm())
    assert (found.share, found.seconds, found.until_s, found.failed) == (0.0, 0.0, 0.0, 0)
    assert set(found.per_endpoint) == set(ENDPOINTS)


def test_the_worst_second_and_how_many_were_hit():
    found = impact(arm(failed={("checkout", 10): 0.5, ("checkout", 11): 1.0, ("checkout", 12): 0.5}))
    own = found.per_endpoint["checkout"]
    assert (own.share, own.seconds, own.until_s, own.failed) == (1.0, 3.0, 3.0, 80)
    assert (found.share, found.seconds, found.until_s, found.failed) == (0.5, 3.0, 3.0, 80)
    assert found.per_endpoint["catalog"].seconds == 0.0


def test_seconds_in_between_do_not_count_but_the_last_one_says_until_when():
    found = impact(arm(failed={("checkout", 10): 0.5, ("catalog", 20): 0.5}))
    assert (found.seconds, found.until_s) == (2.0, 11.0)


def test_slow_arrivals_are_hit_without_failing():
    found = impact(arm(slow={("catalog", at): 0.75 for at in range(11, 15)}))
    own = found.per_endpoint["catalog"]
    assert (own.share, own.seconds, own.until_s, own.failed) == (0.75, 4.0, 5.0, 0)


def test_what_fails_anyway_is_not_blamed_on_the_fault():
    usual = {("checkout", at): 0.25 for at in range(END_S)}
    found = impact(arm(failed=usual | {("checkout", 10): 0.75}), baseline=arm(failed=usual))
    assert (found.share, found.seconds, found.failed) == (0.25, 1.0, 20)


def test_before_the_injection_nothing_counts():
    assert impact(arm(failed={("checkout", 9): 1.0})).share == 0.0


def test_without_a_fault_there_is_no_impact():
    assert impact(arm(), window=False) is None


def test_chance_hits_hardly_a_second():
    hit = [impact(arm(seed=2 * run), baseline=arm(seed=2 * run + 1)).seconds for run in range(100)]
    assert np.mean(hit) < 0.5, "of the 30 seconds of a run"
