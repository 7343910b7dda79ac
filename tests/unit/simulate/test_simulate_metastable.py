"""Metastability in closed form: work that nobody waits for any more keeps a server busy above mu / (1 + R)."""

import numpy as np
import pytest

from harness.analysis.analyse import analyse
from harness.plan import Load, Phase, Retry, Segment
from harness.simulate.effects import Capacity
from harness.simulate.experiment import Trial, fifo_server, simulate

NS = 1e9
MU = 100.0
STALL_S = (20.0, 25.0)


def trial(rate: float, retries: int = 3, *, budget: float | None = None, seconds: float = 160.0) -> Trial:
    retry = {"get": Retry("immediate", retries, budget=budget)} if retries else {}
    load = Load("", "poisson", (Segment(0, seconds, rate, rate),), 0, 10**5, 1.0, 1.0, retry)
    phases = (Phase("warm-up", 0, 5, rate), Phase("steady", 5, seconds, rate))
    return Trial(fifo_server(MU), load, {"get": 1.0}, (Capacity("server", *STALL_S, factor=0),), phases)


def recovered_after_s(record) -> float | None:
    """Seconds from the end of the stall to the last failed arrival; None when there are some near the end."""
    samples = record.arm("fault-1")
    last = np.zeros(len(samples), dtype=int)
    np.maximum.at(last, samples.first_seq, np.arange(len(samples)))
    first = samples.attempt == 0
    at_s = samples.intended_ns[first] / NS
    # What came in the last seconds is still in flight: its end is not known.
    failed_s = at_s[(samples.error[last[first]] != 0) & (at_s < at_s[-1] - 5)]
    return None if failed_s.max() > at_s[-1] - 10 else float(failed_s.max() - STALL_S[1])


@pytest.mark.parametrize("rate", [0.9 * MU / 4, 23.0])
def test_below_the_threshold_it_recovers(rate):
    times_s = [recovered_after_s(simulate(trial(rate), seed)) for seed in range(10)]
    assert None not in times_s
    assert all(5 < time_s < 110 for time_s in times_s if time_s is not None)


@pytest.mark.parametrize("rate", [27.0, 1.1 * MU / 4])
def test_above_the_threshold_it_does_not_although_it_could_carry_the_load(rate):
    for seed in range(10):
        record = simulate(trial(rate), seed)
        assert recovered_after_s(record) is None
        samples = record.arm("fault-1")
        late = samples.intended_ns > 100 * NS
        assert late.sum() / (late & (samples.attempt == 0)).sum() == pytest.approx(4.0, abs=0.1)
        assert analyse(record).cascade.klass == "metastable"
        calm = record.arm("baseline-1")
        assert (calm.error != 0).mean() < 0.01


def test_a_retry_budget_moves_the_threshold_above_the_load():
    for seed in range(10):
        time_s = recovered_after_s(simulate(trial(80, budget=0.1), seed))
        assert time_s is not None
        assert time_s < 70


def test_without_retries_a_stall_is_worked_off_at_the_spare_rate():
    times_s = [recovered_after_s(simulate(trial(50, retries=0), seed)) for seed in range(10)]
    # 5 s of arrivals wait, and go at 100 - 50 a second; failures end when the wait is below the timeout of 1 s.
    assert np.mean(times_s) == pytest.approx((5 * 50 - 100) / 50, abs=0.5)


def test_the_same_seed_gives_the_same_record_and_another_one_does_not():
    first, again, other = (simulate(trial(23, seconds=40), seed) for seed in (5, 5, 6))
    for name in ("baseline-1", "fault-1"):
        for column, values in first.arm(name).arrays().items():
            assert np.array_equal(values, again.arm(name).arrays()[column]), column
        assert not np.array_equal(first.arm(name).end_ns, other.arm(name).end_ns)
    assert analyse(first).to_json() == analyse(again).to_json()


def test_both_arms_see_the_same_arrivals():
    record = simulate(trial(23, seconds=40), 1)
    baseline, fault = (record.arm(name) for name in ("baseline-1", "fault-1"))
    assert np.array_equal(baseline.intended_ns[baseline.attempt == 0], fault.intended_ns[fault.attempt == 0])
