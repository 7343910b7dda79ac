"""What a simulated request costs, and how that grows: the tables of docs/simulation.md.

    python benchmarks/simulate.py                     print the tables
    python benchmarks/simulate.py --million           one million requests a second as well (some minutes)
    python benchmarks/simulate.py --docs FILE         put the tables into FILE between its markers

CPU seconds of this process, after a first call that compiles. The shop is `two-am` (hardened): some eight events per
request. The queue is M/M/1 at 80 %: this loop, simpy and ciw (when they are installed) side by side.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import experiment
from harness.paths import shipped
from harness.plan import Load
from harness.shapes import Segment
from harness.simulate.experiment import Trial, fifo_server, simulate_arms
from harness.simulate.scenario import trial_of

MARK = re.compile(r"(<!-- costs -->\n).*?(<!-- /costs -->)", re.DOTALL)


def cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of `work`, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def shop(scale: int, seconds: float | None = None) -> Trial:
    """The trial of two-am at a scale; with `seconds` only so many, without the fault."""
    planned = experiment.plan(shipped("scenarios") / "two-am.yaml", variant="hardened", seed=1)
    trial = trial_of(planned.plan, planned.target, scale=scale)
    if seconds is None:
        return trial
    load = replace(trial.load, segments=(Segment(0, seconds, 90, 90),))
    return replace(trial, load=load, phases=(), effects=(), arms=trial.arms[:1])


def shop_rows(million: bool) -> Iterator[str]:
    """Costs of the shop by scale."""
    simulate_arms(shop(1, 1.0), 1)
    trials = [shop(1), shop(10), shop(100), shop(1000, 20.0)] + ([shop(11_112, 4.0)] if million else [])
    for trial in trials:
        used_s, arms = cpu_s(lambda trial=trial: simulate_arms(trial, 1))
        arrivals = sum(arm.arrivals for arm in arms.values())
        events = sum(arm.events for arm in arms.values())
        rate = arrivals / len(arms) / trial.duration_s
        yield (
            f"| {trial.scale:,} | {rate:,.0f}/s for {len(arms)} x {trial.duration_s:.0f} s | {arrivals:,} "
            f"| {used_s:.2f} s | {used_s / arrivals * 1e6:.2f} us | {used_s / events * 1e9:.0f} ns |"
        )


def queue_rows(requests: int) -> Iterator[str]:
    """An M/M/1 queue in this loop and in libraries."""
    load = Load("", "poisson", (Segment(0, requests / 80, 80, 80),), 0, 10**6, 1e6, 1e6)
    trial = Trial(fifo_server(100), load, {"get": 1.0}, arms=[("baseline-1", "baseline", 1)])
    used_s, _ = cpu_s(lambda: simulate_arms(trial, 1))
    ours_us = used_s / requests * 1e6
    yield f"| this one | {ours_us:.1f} us | 1 |"
    for name, one in (("simpy", _simpy), ("ciw", _ciw)):
        try:
            used_s, count = cpu_s(lambda one=one: one(requests // 4))
        except ImportError:
            yield f"| {name} | not installed | |"
            continue
        yield f"| {name} | {used_s / count * 1e6:.1f} us | {used_s / count * 1e6 / ours_us:.0f} |"


def _simpy(requests: int) -> int:
    import simpy

    env, draw = simpy.Environment(), random.Random(1)
    server = simpy.Resource(env, 1)

    def request() -> Iterator[Any]:
        with server.request() as turn:
            yield turn
            yield env.timeout(draw.expovariate(100))

    def arrivals() -> Iterator[Any]:
        for _ in range(requests):
            yield env.timeout(draw.expovariate(80))
            env.process(request())

    env.process(arrivals())
    env.run()
    return requests


def _ciw(requests: int) -> int:
    import ciw

    ciw.seed(1)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(80)],
        service_distributions=[ciw.dists.Exponential(100)],
        number_of_servers=[1],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(requests)
    return requests


def main() -> None:
    """Print the tables, or put them where they belong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    lines = [
        "| scale | load | requests | CPU | per request | per event |",
        "| --- | --- | --- | --- | --- | --- |",
        *shop_rows(options.million),
        "",
        "| M/M/1 at 80 % | per request | times ours |",
        "| --- | --- | --- |",
        *queue_rows(200_000),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.docs:
        whole = options.docs.read_text()
        options.docs.write_text(MARK.sub(lambda found: f"{found[1]}{text}{found[2]}", whole))


if __name__ == "__main__":
    main()
