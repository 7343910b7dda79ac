import math
from itertools import islice

import pytest

from harness.load.arrivals import Poisson, Rate, Uniform, arrivals_of, draw_indices
from harness.plan import Load
from harness.shapes import Segment

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


def test_draws_follow_the_weights():
    draws = list(islice(draw_indices([1, 0, 3], seed=5), 4000))
    assert draws == list(islice(draw_indices([1, 0, 3], seed=5), 4000))
    assert set(draws) == {0, 2}
    assert draws.count(2) / len(draws) == pytest.approx(0.75, abs=0.03)


def test_draws_need_a_weight():
    with pytest.raises(ValueError, match="weight"):
        next(draw_indices([0, 0], seed=1))
