import math
from bisect import bisect_left
from itertools import islice, pairwise

import pytest

from harness.load.arrivals import (
    Poisson,
    Rate,
    Uniform,
    arrivals_of,
    constant,
    draw_indices,
    ramp,
    replayed,
    schedule,
    sine,
    step,
)
from harness.plan import Load
from harness.shapes import Segment, Wave
from harness.traces import Replay

FLAT = Rate((Segment(0, 10, 5, 5),))
STEP = Rate((Segment(0, 10, 100, 100), Segment(10, 12, 100, 130), Segment(12, 20, 130, 130)))


def test_the_rate_is_piecewise_linear_and_zero_outside():
    assert [STEP.at(t) for t in (-1, 0, 9.99, 11, 15, 20)] == [0, 100, 100, 115, 130, 0]
    assert STEP.total == 1000 + 230 + 1040


def test_uniform_arrivals_are_evenly_spaced():
    assert list(Uniform(FLAT))[:3] == pytest.approx([0.1, 0.3, 0.5])
    assert len(list(Uniform(FLAT))) == 50


def test_a_gap_between_segments_has_no_arrivals():
    gap = Rate((Segment(0, 1, 10, 10), Segment(5, 6, 10, 10)))
    instants = list(Uniform(gap))
    assert len(instants) == 20
    assert not [t for t in instants if 1 < t < 5]
    assert gap.at(3) == 0


def test_a_segment_at_rate_zero_has_no_arrivals():
    quiet = Rate((Segment(0, 1, 10, 10), Segment(1, 2, 0, 0), Segment(2, 3, 0, 20)))
    instants = list(Uniform(quiet))
    assert len(instants) == 20
    assert not [t for t in instants if 1 < t < 2]


def test_no_segments_mean_no_arrivals():
    assert list(Poisson(Rate(()), 1)) == list(Uniform(Rate(()))) == []


def test_poisson_is_the_same_for_the_same_seed_only():
    assert list(Poisson(STEP, 7)) == list(Poisson(STEP, 7))
    assert list(Poisson(STEP, 7)) != list(Poisson(STEP, 8))


def test_poisson_counts_have_the_mean_and_variance_of_their_segment():
    counts = []
    for seed in range(400):
        counts.append(sum(1 for t in Poisson(FLAT, seed) if 2 <= t < 6))
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(20, abs=4 * math.sqrt(20 / 400))
    assert variance == pytest.approx(20, rel=0.3)


PROCESSES = {
    "constant": constant(100, for_s=40),
    "ramp": ramp(20, 180, for_s=40),
    "step": step(100, 0.3, at_s=20, for_s=40),
    "sine": sine(100, 80, period_s=10, for_s=40),
    "sequence": constant(50, for_s=5).then(sine(100, 100, period_s=7, for_s=20)).then(ramp(100, 0, for_s=15)),
}


@pytest.mark.parametrize("profile", PROCESSES.values(), ids=PROCESSES)
def test_poisson_counts_follow_every_rate(profile):
    """Per window the mean over seeds is the integral of the rate, and the counts are dispersed as Poisson ones are."""
    windows, seeds = [(start, start + 2.5) for start in range(0, 40, 5)], range(60)
    counts = {window: [] for window in windows}
    for seed in seeds:
        instants = list(Poisson(profile, seed))
        for start, end in windows:
            counts[start, end].append(bisect_left(instants, end) - bisect_left(instants, start))
    dispersion = 0.0
    for (start, end), found in counts.items():
        expected = profile.cumulative(end) - profile.cumulative(start)
        assert sum(found) / len(seeds) == pytest.approx(expected, abs=4.5 * math.sqrt(expected / len(seeds)))
        dispersion += sum((count - expected) ** 2 for count in found) / expected
    degrees = len(windows) * len(seeds)
    assert dispersion == pytest.approx(degrees, abs=4.5 * math.sqrt(2 * degrees))


@pytest.mark.parametrize("profile", PROCESSES.values(), ids=PROCESSES)
def test_poisson_gaps_are_exponential_in_expected_arrivals(profile):
    """Kolmogorov and Smirnov's distance of the gaps, on the scale of the integral, from the exponential law."""
    expected = [profile.cumulative(t) for t in Poisson(profile, 11)]
    gaps = sorted(after - before for before, after in pairwise([0.0, *expected]))
    distance = max(
        max(abs(1 - math.exp(-gap) - k / len(gaps)), abs(1 - math.exp(-gap) - (k + 1) / len(gaps)))
        for k, gap in enumerate(gaps)
    )
    assert distance < 1.95 / math.sqrt(len(gaps))  # holds for 999 seeds in a thousand; this one is fixed


@pytest.mark.parametrize("profile", PROCESSES.values(), ids=PROCESSES)
def test_uniform_arrivals_are_even_in_expected_arrivals(profile):
    expected = [profile.cumulative(t) for t in Uniform(profile)]
    assert expected == pytest.approx([k + 0.5 for k in range(round(profile.total))], abs=1e-6)


def test_the_step_changes_the_rate_where_it_should():
    instants = list(Poisson(STEP, 3))
    before = sum(1 for t in instants if t < 10) / 10
    after = sum(1 for t in instants if t >= 12) / 8
    assert before == pytest.approx(100, abs=4 * math.sqrt(10))
    assert after == pytest.approx(130, abs=4 * math.sqrt(130 / 8))


def test_they_say_what_they_are():
    assert str(Poisson(STEP, 7)) == (
        "poisson arrivals (seed 7): 100/s from 0 s to 10 s, 100/s to 130/s from 10 s to 12 s, 130/s from 12 s to 20 s"
    )
    assert str(Uniform(FLAT)) == "uniform arrivals: 5/s from 0 s to 10 s"


@pytest.mark.parametrize(("spacing", "kind"), [("poisson", Poisson), ("uniform", Uniform)])
def test_a_planned_load_has_its_process(spacing, kind):
    load = Load("users.py", spacing, STEP.segments, 3, 10, 1.0, 1.0)
    process = arrivals_of(load)
    assert isinstance(process, kind)
    assert process.rate(11) == 115


def test_all_pieces_of_a_load_make_one_process(tmp_path):
    friday, rates = tmp_path / "friday.csv", tmp_path / "rates.csv"
    friday.write_text("0\n0.25\n0.25\n7.5\n")
    rates.write_text("0,10\n5,30\n")
    load = Load(
        "users.py",
        "uniform",
        (Segment(0, 10, 100, 100), Segment(40, 50, 100, 100)),
        seed=3,
        users=10,
        timeout_s=1.0,
        patience_s=1.0,
        waves=(Wave(10, 20, 100, 50, 10),),
        traces=(Replay(20, 30, str(friday)), Replay(30, 40, str(rates))),
    )
    process = arrivals_of(load)
    instants = list(process)
    assert instants == sorted(instants)
    assert [t for t in instants if 20 <= t < 30] == [20, 20.25, 20.25, 27.5]
    assert [sum(1 for t in instants if start <= t < start + 5) for start in (0, 30, 35, 40)] == [500, 50, 150, 500]
    assert sum(1 for t in instants if 10 <= t < 20) == 1000
    assert [process.rate(t) for t in (5, 12.5, 20.2, 37)] == [100, 150, 3, 30]
    assert load.duration_s == 50
    assert "sine of 100/s" in str(process)
    assert "4 arrivals at recorded instants" in str(process)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_shares_of_the_workers_are_the_whole_without_overlap(tmp_path, workers):
    friday = tmp_path / "friday.csv"
    friday.write_text("\n".join(f"{k * k / 1000:.3f}" for k in range(100)))
    load = Load("u.py", "poisson", (Segment(0, 5, 50, 90),), 3, 9, 1.0, 1.0, traces=(Replay(5, 15, str(friday)),))
    whole = list(schedule(load, [1, 2], 0, 1))
    shares = [list(schedule(load, [1, 2], worker, workers)) for worker in range(workers)]
    assert sorted(one for share in shares for one in share) == sorted(whole)
    assert all(share == whole[worker::workers] for worker, share in enumerate(shares))
    assert [t for t, _ in whole] == list(arrivals_of(load))


def test_a_trace_can_be_replayed_from_python(tmp_path):
    friday, rates = tmp_path / "friday.csv", tmp_path / "rates.csv"
    friday.write_text("0\n1\n2\n3\n")
    rates.write_text("0,10\n5,30\n")
    assert list(replayed(friday, for_s=1, from_s=1, speed=2.0)) == [0, 0.5]
    process = replayed(rates, for_s=100, seed=4)
    assert (process.rate(1), process.rate(6)) == (10, 30)
    assert list(process) == list(replayed(rates, for_s=100, seed=4))
    assert len(list(process)) == pytest.approx(2900, abs=250)


def test_draws_follow_the_weights():
    draws = list(islice(draw_indices([1, 0, 3], seed=5), 4000))
    assert draws == list(islice(draw_indices([1, 0, 3], seed=5), 4000))
    assert set(draws) == {0, 2}
    assert draws.count(2) / len(draws) == pytest.approx(0.75, abs=0.03)


def test_draws_need_a_weight():
    with pytest.raises(ValueError, match="weight"):
        next(draw_indices([0, 0], seed=1))
