"""The simulator against queueing theory: what is known in closed form must come out within sampling error."""

from math import factorial

import numpy as np
import pytest

from harness.plan import Load, Segment
from harness.simulate.experiment import Trial, simulate
from harness.simulate.model import Component, Exponential, Model, Pool, Work
from harness.simulate.model import Hold as Held

NS = 1e9


def waits_of(model: Model, rate: float, seconds: float, seed: int = 1):
    """Response times (s) of answered requests, and the share that was refused, after the queue has settled."""
    load = Load("", "poisson", (Segment(0, seconds, rate, rate),), 0, 10**6, 1000.0, 1000.0)
    trial = Trial(model, load, {"get": 1.0}, arms=[("baseline-1", "baseline", 1)])
    samples = simulate(trial, seed).arm("baseline-1")
    settled = samples.intended_ns > 0.1 * seconds * NS
    answered = settled & (samples.error == 0)
    refused = settled & (samples.status == 503)
    response_s = (samples.end_ns - samples.intended_ns)[answered] / NS
    return response_s, refused.sum() / (answered.sum() + refused.sum())


def server(workers: int, mu: float, queue: int | None = None) -> Model:
    steps = (Work(Exponential(1 / mu)),)
    return Model("server", {"server": Component(workers=workers, queue=queue)}, {"get": steps})


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival has to wait (Erlang C); `load` in erlangs."""
    head = sum(load**k / factorial(k) for k in range(servers))
    tail = load**servers / factorial(servers) * servers / (servers - load)
    return tail / (head + tail)


def blocking(servers: int, load: float, places: int) -> float:
    """The probability that an arrival is lost in M/M/c/K with `places` waiting places beside the servers."""
    weights = [load**k / factorial(k) for k in range(servers + 1)]
    weights += [weights[-1] * (load / servers) ** k for k in range(1, places + 1)]
    return weights[-1] / sum(weights)


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_one_server_makes_people_wait_as_long_as_m_m_1_does(rho):
    mu, response_s = 100.0, []
    for seed in range(8):
        response_s.append(waits_of(server(1, mu), rho * mu, 300, seed)[0].mean())
    expected = 1 / (mu - rho * mu)
    error = np.std(response_s, ddof=1) / np.sqrt(len(response_s))
    assert abs(np.mean(response_s) - expected) < 4 * error
    assert error < 0.05 * expected


def test_response_times_of_m_m_1_are_exponential():
    response_s, _ = waits_of(server(1, 100.0), 50.0, 2000)
    for p in (0.5, 0.9, 0.99):
        assert np.quantile(response_s, p) == pytest.approx(-np.log(1 - p) / 50, rel=0.06)


@pytest.mark.parametrize(("servers", "rho"), [(2, 0.8), (5, 0.7), (16, 0.9)])
def test_many_servers_make_people_wait_as_long_as_m_m_c_does(servers, rho):
    mu = 10.0
    rate = servers * mu * rho
    means = [waits_of(server(servers, mu), rate, 400, seed)[0].mean() for seed in range(8)]
    expected = 1 / mu + erlang_c(servers, servers * rho) / (servers * mu - rate)
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    assert abs(np.mean(means) - expected) < 4 * error
    assert error < 0.05 * expected


@pytest.mark.parametrize(("servers", "load", "places"), [(1, 0.9, 4), (3, 3.0, 2), (5, 6.0, 0)])
def test_a_bounded_queue_loses_as_many_as_m_m_c_k_does(servers, load, places):
    mu = 20.0
    lost = [waits_of(server(servers, mu, places), load * mu, 500, seed)[1] for seed in range(10, 18)]
    error = np.std(lost, ddof=1) / np.sqrt(len(lost))
    assert abs(np.mean(lost) - blocking(servers, load, places)) < 4 * error
    assert error < 0.01


def test_a_pool_is_a_limit_like_any_other():
    pooled = Model(
        "server",
        {"server": Component(pools={"connections": Pool(3, queue=2)})},
        {"get": (Held("connections", (Work(Exponential(0.05)),)),)},
    )
    lost = [waits_of(pooled, 60.0, 300, seed)[1] for seed in range(6)]
    assert np.mean(lost) == pytest.approx(blocking(3, 3.0, 2), abs=0.01)
