"""Stages and toxics on a clock of their own: no loop, no sockets, no waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest

from harness.proxy import stage as stage_module
from harness.proxy.stage import STEPS_AT_ONCE, Stage, Surroundings
from harness.proxy.timers import Timers
from harness.proxy.toxics.bandwidth import BandwidthToxic
from harness.proxy.toxics.base import Chunk, Toxic
from harness.proxy.toxics.latency import LatencyToxic
from harness.proxy.toxics.limit_data import LimitDataToxic
from harness.proxy.toxics.noop import NoopToxic
from harness.proxy.toxics.reset_peer import ResetToxic
from harness.proxy.toxics.slicer import SlicerToxic
from harness.proxy.toxics.slow_close import SlowCloseToxic
from harness.proxy.toxics.timeout import TimeoutToxic

MS = 1_000_000


class World:
    """A clock, timers on it, and a receiver that notes when what came."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.full = False
        self.got: list[tuple[float, bytes]] = []
        self.ended_ms: float | None = None
        self.reset_ms: float | None = None
        self.held_back = False
        self._heap: list[tuple[int, int, list[Callable[[], None] | None]]] = []
        self._count = 0

    def stage(self, toxic: Toxic, seed: int = 0) -> Stage:
        surroundings = Surroundings(cast(Timers, self), Random(seed), self._reset)
        return Stage(toxic, self, self, surroundings)

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Any:
        cell: list[Callable[[], None] | None] = [callback]
        self._count += 1
        heapq.heappush(self._heap, (when_ns, self._count, cell))

        class Handle:
            def cancel(self) -> None:
                cell[0] = None

        return Handle()

    def advance(self, ms: float) -> None:
        end_ns = self.now_ns + int(ms * MS)
        while self._heap and self._heap[0][0] <= end_ns:
            when_ns, _, cell = heapq.heappop(self._heap)
            self.now_ns = max(self.now_ns, when_ns)
            if cell[0] is not None:
                cell[0]()
        self.now_ns = end_ns

    def send(self, stage: Stage, data: bytes) -> None:
        stage.feed(Chunk(data, self.now_ns))

    def feed(self, chunk: Chunk) -> None:
        self.got.append((self.now_ns / MS, bytes(chunk.data)))

    def end(self) -> None:
        self.ended_ms = self.now_ns / MS

    def crowded(self) -> None:
        self.held_back = True

    def room(self) -> None:
        self.held_back = False

    def _reset(self) -> None:
        self.reset_ms = self.now_ns / MS

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.got)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(stage_module.time, "monotonic_ns", lambda: made.now_ns)
    return made


def test_latency_is_from_each_chunks_arrival(world: World) -> None:
    stage = world.stage(LatencyToxic(latency=10))
    for letter in (b"a", b"b", b"c"):
        world.send(stage, letter)
        world.advance(4)
    stage.end()
    world.advance(100)
    assert world.got == [(10, b"a"), (14, b"b"), (18, b"c")]
    assert world.ended_ms == 18


def test_jitter_stays_in_its_range_and_keeps_order(world: World) -> None:
    stage = world.stage(LatencyToxic(latency=10, jitter=5))
    for number in range(200):
        world.send(stage, bytes([number]))
        world.advance(20)
    delays = [at_ms - 20 * number for number, (at_ms, _) in enumerate(world.got)]
    assert set(delays) == set(range(5, 15))
    assert world.data == bytes(range(200))


def test_two_latencies_add_up(world: World) -> None:
    second = world.stage(LatencyToxic(latency=7))
    first = Stage(LatencyToxic(latency=10), second, world, Surroundings(cast(Timers, world), Random(0), world._reset))
    world.send(first, b"x")
    world.advance(50)
    assert world.got == [(17, b"x")]


def test_bandwidth_is_that_of_a_line(world: World) -> None:
    stage = world.stage(BandwidthToxic(rate=1))
    world.send(stage, b"x" * 250)
    world.send(stage, b"y" * 30)
    world.advance(1000)
    assert [(at_ms, len(data)) for at_ms, data in world.got] == [(100, 100), (200, 100), (250, 50), (280, 30)]
    world.send(stage, b"z" * 10)
    world.advance(1000)
    assert world.got[-1] == (1010, b"z" * 10)


def test_bandwidth_zero_holds(world: World) -> None:
    stage = world.stage(BandwidthToxic(rate=0))
    world.send(stage, b"x")
    world.advance(1e9)
    assert world.got == []
    stage.dismiss()
    assert world.data == b"x"


def test_timeout_drops_and_each_chunk_restarts_it(world: World) -> None:
    stage = world.stage(TimeoutToxic(timeout=10))
    for _ in range(3):
        world.send(stage, b"x")
        world.advance(6)
    assert world.ended_ms is None
    world.advance(10)
    assert (world.got, world.ended_ms) == ([], 22)


def test_removing_timeout_closes(world: World) -> None:
    stage = world.stage(TimeoutToxic())
    world.send(stage, b"x")
    world.advance(1000)
    stage.dismiss()
    assert (world.got, world.ended_ms) == ([], 1000)


def test_reset_peer_waits_for_data(world: World) -> None:
    stage = world.stage(ResetToxic(timeout=10))
    world.advance(100)
    world.send(stage, b"x")
    world.advance(100)
    assert (world.reset_ms, world.got) == (110, [])


def test_reset_peer_removed_in_time_does_nothing(world: World) -> None:
    stage = world.stage(ResetToxic(timeout=10))
    world.send(stage, b"x")
    world.advance(5)
    stage.dismiss()
    world.advance(100)
    assert (world.reset_ms, world.data) == (None, b"x")


def test_slicer_waits_after_every_piece(world: World) -> None:
    stage = world.stage(SlicerToxic(average_size=10, delay=1000))
    world.send(stage, b"x" * 40)
    stage.end()
    world.advance(100)
    assert [(at_ms, len(data)) for at_ms, data in world.got] == [(0, 10), (1, 10), (2, 10), (3, 10)]
    assert world.ended_ms == 4


@pytest.mark.parametrize("then", ["on", "removed", "changed"])
def test_single_bytes_leave_the_loop_to_others(world: World, then: str) -> None:
    stage = world.stage(SlicerToxic(average_size=1))
    world.send(stage, b"x" * 65536)
    assert 0 < len(world.got) <= STEPS_AT_ONCE
    world.send(stage, b"y")
    if then == "removed":
        stage.dismiss()
    elif then == "changed":
        stage.change(SlicerToxic(average_size=2))
    world.advance(1)
    assert world.data == b"x" * 65536 + b"y"


@pytest.mark.parametrize("toxic", [SlicerToxic(1), SlicerToxic(7, 7), SlicerToxic(100, -99), SlicerToxic(3, 1)])
def test_slices_add_up(toxic: SlicerToxic) -> None:
    for seed in range(30):
        sizes = list(toxic.pieces(1000, Random(seed)))
        assert sum(sizes) == 1000
        assert 0 < min(sizes) <= max(sizes) <= toxic.average_size + toxic.size_variation


def test_limit_data_cuts_and_closes(world: World) -> None:
    stage = world.stage(LimitDataToxic(bytes=5))
    world.send(stage, b"abc")
    assert world.ended_ms is None
    world.send(stage, b"defg")
    world.send(stage, b"h")
    assert (world.data, world.ended_ms) == (b"abcde", 0)


def test_limit_data_keeps_count_through_a_change(world: World) -> None:
    stage = world.stage(LimitDataToxic(bytes=100))
    world.send(stage, b"abc")
    stage.change(LimitDataToxic(bytes=4))
    world.send(stage, b"defg")
    assert (world.data, world.ended_ms) == (b"abcd", 0)


def test_slow_close_delays_only_the_end(world: World) -> None:
    stage = world.stage(SlowCloseToxic(delay=10))
    world.send(stage, b"x")
    stage.end()
    world.advance(100)
    assert (world.got, world.ended_ms) == ([(0, b"x")], 10)


def test_a_change_passes_on_what_was_held_and_applies_to_what_waits(world: World) -> None:
    stage = world.stage(LatencyToxic(latency=1000))
    world.send(stage, b"a")
    world.send(stage, b"b")
    world.advance(1)
    stage.change(LatencyToxic(latency=20))
    assert world.got == [(1, b"a")]
    world.advance(100)
    assert world.got == [(1, b"a"), (20, b"b")]


@pytest.mark.parametrize(
    "toxic",
    [
        NoopToxic(),
        LatencyToxic(latency=50, jitter=3),
        BandwidthToxic(rate=1),
        SlowCloseToxic(delay=5),
        SlicerToxic(average_size=3, delay=500),
        LimitDataToxic(bytes=10_000),
    ],
)
def test_removal_at_any_moment_loses_nothing(world: World, toxic: Toxic) -> None:
    sent = bytes(range(256)) * 2
    for moment_ms in range(0, 60, 3):
        world.got.clear()
        world.ended_ms = None
        stage = world.stage(toxic)
        for start in range(0, len(sent), 64):
            world.send(stage, sent[start : start + 64])
        world.advance(moment_ms)
        stage.end()
        stage.dismiss()
        world.advance(10_000)
        assert world.data == sent
        assert world.ended_ms is not None


def test_a_full_receiver_holds_the_stage_and_a_full_stage_its_sender(world: World) -> None:
    stage = world.stage(NoopToxic())
    world.full = True
    sent = 0
    while not world.held_back:
        world.send(stage, b"x" * 1000)
        sent += 1000
    assert sent <= NoopToxic.CAPACITY_BYTES + 2000
    assert len(world.data) == 1000
    stage.room()
    assert len(world.data) == 1000
    world.full = False
    stage.room()
    world.advance(1)
    assert len(world.data) == sent
    assert not world.held_back


def test_many_small_chunks_are_bounded_too(world: World) -> None:
    stage = world.stage(LatencyToxic(latency=1000))
    count = 0
    while not world.held_back:
        world.send(stage, b"x")
        count += 1
    assert count == LatencyToxic.CAPACITY_CHUNKS + 1
