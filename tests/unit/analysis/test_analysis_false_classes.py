"""The class of pairs in which nothing differs, however the machine wanders: none."""

import numpy as np
import pytest

from harness.analysis.arrivals import Arrivals
from harness.analysis.cells import count_pairs
from harness.analysis.damage import assess
from harness.analysis.experiment import Experiment, Window
from harness.analysis.seconds import cut_seconds, undisturbed

NS = 10**9
SECONDS, RATE, ENDPOINTS, PAIRS = 65, 200, 5, 40


def wandering(rng, phi):
    """The log level of each second: AR(1) with a standard deviation of 0.15."""
    level = np.zeros(SECONDS + 50)
    for at in range(1, SECONDS + 50):
        level[at] = phi * level[at - 1] + rng.normal(0, 0.15 * np.sqrt(1 - phi**2))
    return level[50:]


def steady(rng, at_s):
    return 20 * np.exp(rng.normal(0, 0.4, at_s.size))


def correlated(rng, at_s):
    return steady(rng, at_s) * np.exp(wandering(rng, 0.6))[at_s.astype(int)]


def pausing(rng, at_s):
    """Pauses of 50 to 500 ms, one in 8 s."""
    took_ms = steady(rng, at_s)
    for begins in rng.uniform(0, SECONDS, rng.poisson(SECONDS / 8)):
        ends = begins + rng.uniform(0.05, 0.5)
        inside = (at_s >= begins) & (at_s < ends)
        took_ms[inside] += 1000 * (ends - at_s[inside])
    return took_ms


def heavy(rng, at_s):
    return 20 * (1 + rng.pareto(1.8, at_s.size))


def arm(rng, at_s, endpoint, noise):
    took_ms = noise(rng, at_s)
    failed = (rng.random(at_s.size) < 0.005) | (took_ms >= 1000)
    response_ns = (np.minimum(took_ms, 1000) * 1e6).astype(np.int64)
    return Arrivals(
        endpoint=endpoint,
        endpoint_names=tuple(f"e{number}" for number in range(ENDPOINTS)),
        intended_ns=(at_s * NS).astype(np.int64),
        response_ns=response_ns,
        felt_ns=np.where(failed, NS, response_ns),
        failed=failed,
        attempts=np.ones(at_s.size, dtype=np.int32),
        error=failed.astype(np.int32),
        error_names=("", "http_5xx"),
        censored=0,
    )


@pytest.mark.parametrize("noise", [steady, correlated, pausing, heavy])
def test_nothing_wrong_is_no_damage(noise):
    rng = np.random.default_rng(3)
    window = Window(25 * NS, 40 * NS, True, ("f",), ("redis",), ())
    phases = (("steady", 5 * NS, SECONDS * NS),)
    experiment = Experiment("b", "f", window, 5 * NS, SECONDS * NS, (SECONDS - 1) * NS, phases, False, "")
    seconds = cut_seconds(experiment)
    calm = [undisturbed(seconds, experiment, kind, NS) for kind in ("baseline", "fault")]
    alarms = 0
    for _ in range(PAIRS):
        at_s = np.sort(rng.uniform(0, SECONDS, rng.poisson(RATE * SECONDS)))
        endpoint = rng.integers(0, ENDPOINTS, at_s.size).astype(np.int32)
        pairs = count_pairs(*(arm(rng, at_s, endpoint, noise) for _ in range(2)), seconds, *calm, NS)
        damages = assess(pairs, seconds)
        assert any(damage.met is False for damage in damages), "a judgement that is always withheld is none"
        alarms += any(damage.met for damage in damages if damage.stretch != "tail")
    assert alarms <= 2
