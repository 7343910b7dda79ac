"""The order of onsets from joint draws: steps that are sure, ties, and what has no place."""

import numpy as np

from harness.analysis.onsets import DRAWS, Located
from harness.analysis.propagation import find_chain, find_path, judge_order
from harness.analysis.verdict import Interval, Onset


def located(name, t_s, spread_s=0.3, kind="errors", seed=0, resolved=True):
    draws = t_s + np.random.default_rng((seed, *name.encode())).uniform(-spread_s, spread_s, DRAWS)
    return Located(Onset(name, t_s, Interval(t_s - spread_s, t_s + spread_s), kind, resolved), draws)


def steps(*found):
    return [(step.before, step.after) for step in find_path(found)]


def test_a_clear_order_is_a_path_without_the_steps_that_follow():
    assert steps(located("pool", 10), located("checkout", 13), located("catalog", 17)) == [
        ("pool", "checkout"),
        ("checkout", "catalog"),
    ]


def test_within_two_seconds_is_a_tie():
    assert steps(located("pool", 10), located("checkout", 11.5)) == []
    evidence = judge_order([located("pool", 10), located("checkout", 11.5)], ())
    assert evidence.met is False
    assert "pool (10.0 s), with it checkout (11.5 s)" in evidence.text


def test_what_ties_with_both_ends_does_not_hide_their_order():
    assert steps(located("a", 10), located("b", 11.5), located("c", 13)) == [("a", "c")]


def test_an_order_that_is_not_sure_is_none():
    assert steps(located("pool", 10, spread_s=5), located("checkout", 13, spread_s=5)) == []


def test_draws_that_move_together_keep_their_order():
    shift = np.random.default_rng(1).uniform(-4, 4, DRAWS)
    one, other = located("pool", 10), located("checkout", 13)
    together = [Located(one.onset, one.draws + shift), Located(other.onset, other.draws + shift)]
    assert steps(*together) == [("pool", "checkout")]


def test_an_onset_that_is_not_resolved_has_no_place():
    found = [located("pool", 10), located("leak", 20, spread_s=8, resolved=False), located("checkout", 30)]
    assert steps(*found) == [("pool", "checkout")]
    assert "Onset unresolved: leak." in judge_order(found, find_path(found)).text
    assert "leak" not in find_chain([*found, located("threads", 31, kind="full")])


def test_the_chain_needs_something_that_is_full():
    failing = [located("checkout errors", 13), located("catalog errors", 17)]
    assert find_chain(failing) == ()
    full = located("app workers full", 14, kind="full")
    assert find_chain([failing[0], full, failing[1]]) == ("checkout errors", "app workers full", "catalog errors")


def test_fewer_than_two_onsets_have_no_order():
    assert find_path([]) == ()
    assert judge_order([located("pool", 10)], ()).met is None
