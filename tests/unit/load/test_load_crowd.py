"""How many users there are, and of which class, at each instant of the closed model."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.crowd import changes, order, share
from harness.plan import Segment


class Kind:
    def __init__(self, name: str, weight: float = 1, fixed_count: int = 0) -> None:
        self.name = name
        self.weight = weight
        self.fixed_count = fixed_count


def named(kinds, count, worker=0, workers=1, *, each_class=False):
    return "".join(kind.name for kind in islice(order(kinds, worker, workers, each_class=each_class), count))


def test_a_step_is_one_change_and_a_ramp_is_one_per_user():
    segments = (Segment(0, 10, 4, 4), Segment(10, 12, 4, 8), Segment(12, 20, 8, 8), Segment(20, 21, 2, 0))
    assert list(changes(segments)) == [
        (0, 4), (10.25, 5), (10.75, 6), (11.25, 7), (11.75, 8), (20, 2), (20.25, 1), (20.75, 0)
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.floats(0, 300), st.floats(0, 300)).map(lambda t: (t[0], t[1], t[2])),
        min_size=1,
        max_size=5,
    )
)
def test_the_number_follows_the_plan_to_half_a_user(parts):
    segments, at_s = [], 0.0
    for length_s, first, last in parts:
        segments.append(Segment(at_s, at_s + length_s, first, last))
        at_s += length_s
    steps = list(changes(segments))
    assert [t for t, _ in steps] == sorted(t for t, _ in steps)
    for segment in segments:
        slope = (segment.rate_end - segment.rate_start) / (segment.end_s - segment.start_s)
        for part in (0.1, 0.5, 0.9):
            t_s = segment.start_s + part * (segment.end_s - segment.start_s)
            users = [count for instant, count in steps if instant <= t_s][-1]
            assert abs(users - (segment.rate_start + slope * (t_s - segment.start_s))) <= 0.5 + 1e-6


@given(st.integers(0, 1000), st.integers(1, 9))
def test_workers_share_all_users_as_evenly_as_can_be(users, workers):
    shares = [share(users, worker, workers) for worker in range(workers)]
    assert sum(shares) == users
    assert max(shares) - min(shares) <= 1


def test_classes_come_in_proportion_to_their_weights_after_the_fixed_ones():
    assert named([Kind("a", 3), Kind("b", 1)], 8).count("a") == 6
    assert named([Kind("a", 1), Kind("f", 9, fixed_count=2), Kind("b", 1)], 6) == "ffabab"
    assert named([Kind("f", fixed_count=2)], 6) == "ff"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 20), st.integers(1, 5))
def test_a_fixed_number_is_that_of_all_workers_together(counts, others, workers):
    kinds = [Kind(str(number), fixed_count=count) for number, count in enumerate(counts)] + [Kind("w")]
    users = sum(counts) + others
    everybody = "".join(named(kinds, share(users, worker, workers), worker, workers) for worker in range(workers))
    assert [everybody.count(str(number)) for number in range(len(counts))] == counts
    assert everybody.count("w") == others


def test_in_the_open_model_each_worker_has_a_user_of_every_class():
    kinds = [Kind("w", 2), Kind("f", fixed_count=3), Kind("g", fixed_count=1)]
    assert [named(kinds, 4, worker, 2, each_class=True) for worker in (0, 1)] == ["ffgw", "fgww"]
    assert [named(kinds, 4, worker, 2) for worker in (0, 1)] == ["ffww", "fgww"]


@pytest.mark.parametrize("count", [1, 5, 17, 100])
def test_every_beginning_of_the_order_is_fair(count):
    kinds = [Kind("a", 5), Kind("b", 2), Kind("c", 1)]
    names = named(kinds, count)
    for kind in kinds:
        assert abs(names.count(kind.name) - count * kind.weight / 8) < 2
