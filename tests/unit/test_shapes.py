"""Rates over time: what each piece is at an instant, adds up to, and inverts to."""

import math
from array import array

import pytest

from harness.shapes import Instants, Rate, Segment, Steps, Wave, constant, ramp, sine, step

WAVE = Wave(10.0, 70.0, 100.0, 30.0, 20.0)
STEPS = Steps(40.0, array("d", [0, 10, 20, 30]), array("d", [5, 0, 20, 10]))


def test_a_wave_starts_at_its_mean_and_goes_up_first():
    assert [round(WAVE.at(10 + t), 9) for t in (0, 5, 10, 15, 20)] == [100, 130, 100, 70, 100]
    assert (WAVE.total, WAVE.peak) == (pytest.approx(6000), 130)
    assert WAVE.cumulative(20) == pytest.approx(1000 + 30 * 20 / math.pi)


@pytest.mark.parametrize("wave", [WAVE, Wave(0, 100, 50, 50, 7), Wave(3, 4, 2, 0, 60), Wave(0, 1e5, 1e3, 999, 3600)])
def test_a_wave_inverts_its_integral_to_the_last_digits_even_where_it_touches_zero(wave):
    instants = [wave.instant(share / 1000 * wave.total) for share in range(1000)]
    assert instants == sorted(instants)
    for share, instant in enumerate(instants):
        assert wave.cumulative(instant) == pytest.approx(share / 1000 * wave.total, rel=1e-12, abs=1e-10)


def test_a_wave_of_nothing_is_over_at_once():
    assert Wave(1, 2, 0, 0, 1).instant(0) == 1


def test_steps_hold_until_the_next_one():
    assert [STEPS.at(t) for t in (0, 9.9, 10, 25, 39)] == [5, 5, 0, 20, 10]
    assert (STEPS.start_s, STEPS.total, STEPS.peak) == (0, 50 + 200 + 100, 20)
    assert [STEPS.cumulative(t) for t in (0, 4, 15, 21)] == [0, 20, 50, 70]
    assert [STEPS.instant(n) for n in (0, 20, 50, 60, 349)] == [0, 4, 20, 20.5, 39.9]


def test_a_rate_is_its_pieces_one_after_the_other():
    rate = Rate((Segment(0, 10, 5, 5), WAVE, STEPS.shifted(80)))
    assert [rate.at(t) for t in (5, 10, 75, 81, 120)] == [5, 100, 0, 5, 0]
    assert (rate.start_s, rate.end_s, rate.peak) == (0, 120, 130)
    assert rate.total == pytest.approx(50 + 6000 + 350)
    assert rate.cumulative(75) == pytest.approx(6050)
    assert rate.cumulative(1e9) == rate.total
    assert rate.instant(rate.total) == math.inf
    assert rate.instant(6051) == pytest.approx(80.2)


def test_rates_are_put_one_after_the_other():
    rate = constant(100, for_s=5).then(ramp(100, 130, for_s=2)).then(step(130, 0.3, at_s=1, for_s=3))
    assert rate.segments[:2] == (Segment(0, 5, 100, 100), Segment(5, 7, 100, 130))
    assert (rate.at(7.5), rate.at(9), rate.end_s) == (130, 169, 10)
    assert constant(1, for_s=2).then(sine(9, 1, period_s=3, for_s=4)).segments[1] == Wave(2, 6, 9, 1, 3)


def test_instants_know_their_busiest_second_and_their_rate():
    instants = Instants(0, 10, array("d", [1, 1.2, 1.9, 2.0, 2.1, 7]))
    assert (instants.total, instants.peak, list(instants)) == (6, 4, [1, 1.2, 1.9, 2.0, 2.1, 7])
    assert [instants.rate(t) for t in (0, 2, 5, 7)] == [0, 3, 0, 1]
    assert Instants(0, 1, array("d")).peak == 0


def test_they_say_what_they_are():
    assert str(constant(5, for_s=1).then(sine(100, 30, period_s=20, for_s=60))) == (
        "5/s from 0 s to 1 s, sine of 100/s +- 30/s every 20 s from 1 s to 61 s"
    )
    assert str(STEPS) == "4 rates up to 20/s from 0 s to 40 s"
    assert str(Instants(2, 3, array("d", [2.5]))) == "1 arrivals at recorded instants from 2 s to 3 s"
    assert str(Rate(())) == "no arrivals"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Segment(1, 1, 5, 5),
        lambda: Segment(0, 1, -1, 5),
        lambda: Segment(0, 1, 5, math.inf),
        lambda: Segment(0, math.nan, 5, 5),
        lambda: Wave(0, 1, 5, 6, 1),
        lambda: Wave(0, 1, 5, -1, 1),
        lambda: Wave(0, 1, 5, 1, 0),
        lambda: Steps(1, array("d"), array("d")),
        lambda: Steps(1, array("d", [0, 0]), array("d", [1, 1])),
        lambda: Steps(1, array("d", [0, 1]), array("d", [1, 1])),
        lambda: Steps(1, array("d", [0]), array("d", [-1])),
        lambda: Rate((Segment(0, 2, 5, 5), Segment(1, 3, 5, 5))),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ValueError):
        make()
