import numpy as np
import pytest

from harness.stats.noise import NO_NOISE, measure


def test_independent_arrivals_have_a_design_effect_near_one():
    rng = np.random.default_rng(1)
    effects = [measure([(rng.binomial(50, 0.1, 60), np.full(60, 50))]).design_effect for _ in range(200)]
    assert np.median(effects) < 1.3
    assert min(effects) == 1.0


def test_shared_wandering_raises_the_design_effect():
    rng = np.random.default_rng(2)
    effects = []
    for _ in range(100):
        level = np.repeat(rng.uniform(0.0, 0.3, 12), 5)
        effects.append(measure([(rng.binomial(100, level), np.full(60, 100))]).design_effect)
    assert np.median(effects) > 10


def test_the_long_run_variance_agrees_with_theory_for_an_autoregression():
    rng = np.random.default_rng(3)
    share, n, phi, ratios = 0.5, 1000, 0.5, []
    for _ in range(200):
        wander = np.zeros(400)
        for at in range(1, 400):
            wander[at] = phi * wander[at - 1] + rng.normal(0, 0.02)
        happened = np.rint((share + wander[100:]) * n).astype(int)
        ratios.append(measure([(happened, np.full(300, n))]).design_effect)
    theory = (n * 0.02 / (1 - phi)) ** 2 / (share * (1 - share) * n)
    assert np.mean(ratios) == pytest.approx(theory, rel=0.15)


def test_levels_that_differ_between_stretches_are_not_noise():
    calm = (np.array([5, 5, 5, 5, 5, 5]), np.full(6, 50))
    busy = (np.array([25, 25, 25, 25, 25, 25]), np.full(6, 50))
    assert measure([calm, busy]).design_effect == 1.0


def test_no_events_mean_no_clustering_and_the_normal_law():
    noise = measure([(np.zeros(20, dtype=int), np.full(20, 100))])
    assert noise.known
    assert noise.design_effect == 1.0
    assert noise.critical() == pytest.approx(1.96, abs=0.001)


def test_a_few_events_give_no_variance_and_the_normal_law():
    noise = measure([(np.array([1, 0, 2, 1, 0, 1, 1]), np.full(7, 20))])
    assert noise.critical() == pytest.approx(1.96, abs=0.001)
    assert noise.known


def test_a_variance_from_few_seconds_widens_the_critical_value():
    noise = measure([(np.array([3, 1, 4, 2, 1, 3, 2]), np.full(7, 20))])
    assert noise.freedom == 1
    assert noise.critical() > 3


def test_too_short_stretches_are_left_out():
    noise = measure([(np.array([1, 2]), np.array([10, 10]))])
    assert (noise.seconds, noise.freedom) == (0, 0)
    assert NO_NOISE.known


def test_slow_wandering_over_a_short_stretch_is_not_known():
    ramp = np.concatenate((np.arange(20), np.arange(20)[::-1]))
    noise = measure([(ramp, np.full(40, 50))])
    assert noise.correlation_s > 2
    assert not noise.known


def test_what_wanders_grows_with_the_share_itself():
    rng = np.random.default_rng(5)
    level = 0.02 * np.exp(np.repeat(rng.normal(0, 0.5, 20), 3))
    noise = measure([(rng.binomial(1000, level), np.full(60, 1000))])
    doubled = noise.at(2 * noise.share, 1000)
    assert doubled.design_effect - 1 == pytest.approx(2 * (noise.design_effect - 1), rel=0.1)
    assert doubled.critical() > noise.critical(), "scaling what was measured scales its uncertainty"
    assert noise.at(noise.share, 1000).design_effect == pytest.approx(noise.design_effect)
    assert noise.at(0.0, 1000).design_effect == noise.at(1.0, 1000).design_effect == 1.0


def test_slow_wandering_is_seen_although_chance_hides_it_in_single_seconds():
    rng, unknown = np.random.default_rng(6), 0
    for _ in range(100):
        wander = np.zeros(200)
        for at in range(1, 200):
            wander[at] = 0.9 * wander[at - 1] + rng.normal(0, 0.3 * np.sqrt(1 - 0.81))
        noise = measure([(rng.binomial(2000, 0.01 * np.exp(wander[120:])), np.full(80, 2000))])
        unknown += not noise.known
    assert unknown > 70


def test_variance_from_a_handful_of_bursts_is_not_known():
    bursts = np.zeros(60, dtype=int)
    bursts[[7, 31, 44]] = 60
    noise = measure([(bursts + 1, np.full(60, 200))])
    assert noise.bursts < 4
    assert not noise.known


def test_a_known_chance_part_makes_the_critical_value_smaller():
    rng = np.random.default_rng(7)
    by_chance = measure([(rng.binomial(200, 0.05, 60), np.full(60, 200))])
    wandering = measure([(rng.binomial(200, np.repeat(rng.uniform(0, 0.2, 12), 5)), np.full(60, 200))])
    assert by_chance.freedom == wandering.freedom
    assert 1.96 < by_chance.critical() < 2.2 < wandering.critical()
    assert wandering.tail(wandering.critical()) == pytest.approx(0.025)
