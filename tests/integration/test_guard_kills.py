"""SIGKILL at any moment of a fault: the guard takes it back within two seconds, or `harness rollback` does.

What is looked at is the stack and never the ledger: the toxics of a proxy that outlives the run, the time of an
exchange over its edge, whether a Redis that outlives it stands still, and whether one that the fault had killed
answered again before it was ended with the run (its log says so). `HARNESS_KILLS=120` tries so many moments; a few are
enough to notice a guard that does nothing.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from killable import LATENCY_S, STEPS, Round, to_json

from harness.faults.restore import rollback_all
from harness.ports import reserve_port
from harness.probes import probe, split, wait_for
from harness.processes import TAG
from harness.proxy.client import ToxiproxyClient
from harness.stack import valkey

KILLS = int(os.environ.get("HARNESS_KILLS", "24"))
BOTH = max(4, KILLS // 6)
LANES = 3
SEED = 20260
WITHIN_S = 2.0
FAULTS = ("slow", "down", "still")


@dataclass(frozen=True, slots=True)
class World:
    """What belongs to the tests: a proxy server and the Redis behind it, an edge and a spare Redis for each lane."""

    api: str
    redis: str
    edges: Sequence[tuple[str, str]]
    spares: Sequence[tuple[int, int]]
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kills")
    api, *servers = (f"127.0.0.1:{reserve_port()}" for _ in range(LANES + 2))
    proxy = [sys.executable, "-m", "harness.proxy", "--host", "127.0.0.1", "--port", str(split(api)[1])]
    started = [subprocess.Popen(proxy, stdout=subprocess.DEVNULL)]
    for server in servers:
        command = [str(valkey.binary()), "--port", str(split(server)[1]), "--bind", "127.0.0.1", "--save", ""]
        started.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL))
    redis, *spares = servers
    try:
        assert wait_for(lambda: all(probe("redis", server).ok for server in servers), timeout_s=20)
        assert wait_for(lambda: probe("http", api, path="/version").ok, timeout_s=20)
        client = ToxiproxyClient(*split(api))
        edges = [(f"edge-{n}", client.create(f"edge-{n}", "127.0.0.1:0", redis)) for n in range(LANES)]
        ports_and_pids = [(split(spare)[1], one.pid) for spare, one in zip(spares, started[2:], strict=True)]
        yield World(api, redis, edges, ports_and_pids, folder)
    finally:
        for results in folder.iterdir():
            rollback_all(results)  # what a test that failed has left
        for process in started:
            process.kill()
            process.wait()


class Lane:
    """A conductor that is killed again and again, one after the other, with an edge to itself."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._proxy, self._edge = world.edges[number]
        self._spare = world.spares[number]
        self._conductor = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent.parent / "killable.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Lane:
        return self

    def __exit__(self, *_: object) -> None:
        self._conductor.communicate(timeout=60)

    def kill(self, name: str, fault: str, step: str, after_s: float, *, guard_too: bool) -> Scene:
        """Let a conductor live until it is killed there; returns what it left."""
        results = self._world.folder / name
        port = reserve_port()
        folder = results / f"killed-{name}"
        mine = (self._world.api, self._proxy, self._edge, self._world.redis, *self._spare, port)
        one = Round(str(folder), *mine, fault, step, after_s, guard_too)
        assert self._conductor.stdin is not None
        assert self._conductor.stdout is not None
        self._conductor.stdin.write(to_json(one) + "\n")
        self._conductor.stdin.flush()
        told = json.loads(self._conductor.stdout.readline())
        assert told["killed"], f"{name}: it was to be killed in `{step}` and ended by itself with {told['code']}"
        return Scene(name, results, folder, *mine, told["last"])


@dataclass(frozen=True, slots=True)
class Scene:
    """What a killed conductor has left."""

    name: str
    results: Path
    folder: Path
    api: str
    proxy: str
    edge: str
    upstream: str
    spare_port: int
    spare_pid: int
    redis_port: int
    last_step: str

    def broken(self) -> list[str]:
        """What of the faults can still be seen."""
        seen = []
        if toxics := ToxiproxyClient(*split(self.api)).toxics(self.proxy):
            seen.append(f"toxics {toxics}")
        if (took := probe("redis", self.edge).seconds) >= LATENCY_S * 0.9:
            seen.append(f"an exchange takes {took:.3f} s")
        if psutil.Process(self.spare_pid).status() == psutil.STATUS_STOPPED:
            seen.append("a Redis stands still")
        elif not probe("redis", f"127.0.0.1:{self.spare_port}").ok:
            seen.append("a Redis does not answer")
        if not probe("redis", f"127.0.0.1:{self.redis_port}").ok and not self._ended_in_peace():
            seen.append("Redis is down")
        return seen

    def is_whole(self) -> bool:
        """Whether nothing of the faults can be seen."""
        return not self.broken()

    def is_gone(self) -> bool:
        """Whether nothing of the run is left."""
        return not self.left()

    def left(self) -> list[str]:
        """Processes and folders of the run."""
        tagged = [str(one) for one in psutil.process_iter() if _tag(one) == self.folder.name]
        if probe("redis", f"127.0.0.1:{self.redis_port}").ok:
            tagged.append("its Redis")  # which has no tag any more
        return tagged + [str(path) for path in (self.folder / "work", self.folder / "ledger.jsonl") if path.exists()]

    def _ended_in_peace(self) -> bool:
        """Whether the last Redis had served until it was asked to end, instead of being killed by the fault."""
        log = (self.folder / "logs" / "redis.log").read_text()
        return "Received SIGTERM" in log[log.rindex("Ready to accept connections") :]


def _tag(process: psutil.Process) -> str:
    try:
        return process.environ().get(TAG, "") if process.status() != psutil.STATUS_ZOMBIE else ""
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _moments(count: int, seed: int) -> list[tuple[str, str, float]]:
    """(fault, step, how long after the step was entered): every step of either fault in turn, and a random while."""
    drawn = random.Random(seed)
    pairs = [(fault, step) for step in STEPS for fault in FAULTS]
    drawn.shuffle(pairs)
    return [
        (*pairs[n % len(pairs)], drawn.choice([0.0, drawn.uniform(0, 0.003), drawn.uniform(0, 0.06)]))
        for n in range(count)
    ]


def test_a_killed_conductor_leaves_no_fault_behind(world: World) -> None:
    moments = _moments(KILLS, SEED)

    def one_lane(number: int) -> list[tuple[str, float]]:
        took = []
        with Lane(world, number) as lane:
            for n in range(number, KILLS, LANES):
                fault, step, after_s = moments[n]
                scene = lane.kill(f"k{n}", fault, step, after_s, guard_too=False)
                died = time.monotonic()
                gone = wait_for(scene.is_whole, timeout_s=WITHIN_S)
                took.append((scene.last_step, time.monotonic() - died))
                assert gone, f"{scene.name}: {fault} in {step} + {after_s:.4f} s: {scene.broken()}"
                assert wait_for(scene.is_gone, timeout_s=10), scene.left()
                assert wait_for(scene.is_whole, timeout_s=WITHIN_S), scene.broken()  # and it stays gone
        return took

    with ThreadPoolExecutor(LANES) as lanes:
        took = [one for lane in lanes.map(one_lane, range(LANES)) for one in lane]
    print(
        f"{KILLS} kills, gone after {max(s for _, s in took):.2f} s at most:", dict(Counter(step for step, _ in took))
    )
    assert {step for step, _ in took} >= {"wait", "inject", "hold", "revert", "clear"}


def test_rollback_takes_back_what_a_killed_guard_could_not(world: World) -> None:
    moments = [(fault, step, after_s) for fault, step, after_s in _moments(4 * BOTH, SEED + 1) if step != "record"][
        :BOTH
    ]

    def one_lane(number: int) -> list[bool]:
        broken = []
        with Lane(world, number) as lane:
            for n in range(number, BOTH, LANES):
                fault, step, after_s = moments[n]
                scene = lane.kill(f"b{n}", fault, step, after_s, guard_too=True)
                time.sleep(0.2)  # nobody is there to do anything in that time
                broken.append(bool(scene.broken()))
                assert scene.left(), "its Redis still runs, or its ledger is there"
                rollback = [sys.executable, "-m", "harness", "rollback", "--out", str(scene.results)]
                done = subprocess.run(rollback, capture_output=True, text=True, check=False, timeout=60)
                assert done.returncode == 0, done.stderr
                whole = wait_for(scene.is_whole, timeout_s=WITHIN_S)
                assert whole, f"{scene.name}: {fault} in {step} + {after_s:.4f} s: {scene.broken()}"
                assert scene.left() == []
        return broken

    with ThreadPoolExecutor(LANES) as lanes:
        broken = [one for lane in lanes.map(one_lane, range(LANES)) for one in lane]
    print(f"{BOTH} kills of both, {sum(broken)} of them with a fault on")
    assert any(broken), "without a guard the fault must be seen, or these tests see nothing"
