from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.proxy import toxics
from harness.proxy.jsonscan import DecodeError, parse
from harness.proxy.toxics.base import FORWARD, RECEIVE, Chunk, Pipe, Tap, Toxic
from harness.proxy.toxics.latency import LatencyToxic
from harness.proxy.toxics.slicer import SlicerToxic


def test_the_real_servers_toxics_are_there() -> None:
    assert list(toxics.registered()) == [
        "bandwidth",
        "latency",
        "limit_data",
        "noop",
        "reset_peer",
        "slicer",
        "slow_close",
        "timeout",
    ]


def test_every_toxic_is_documented_and_knows_its_type() -> None:
    for name, toxic in toxics.registered().items():
        assert name == toxic.TYPE
        assert toxic.__doc__
        assert toxic.pipe.__doc__


def test_a_type_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'latency' is registered twice"):

        @toxics.toxic("latency")
        @dataclass(frozen=True)
        class Other(Toxic):
            def pipe(self, tap: Tap) -> Pipe:
                while isinstance((yield RECEIVE), Chunk):
                    yield FORWARD

    assert toxics.registered()["latency"] is LatencyToxic


def test_updates_merge_and_refuse_wrong_types() -> None:
    before = LatencyToxic(latency=5)
    assert before.updated(parse(b'{"JITTER": 2, "other": "x"}')) == LatencyToxic(latency=5, jitter=2)
    assert before.updated(None) == before
    with pytest.raises(DecodeError, match=r"number 1\.5 into Go struct field LatencyToxic\.attributes\.latency"):
        before.updated(parse(b'{"latency": 1.5}'))
    with pytest.raises(DecodeError, match=r"SlicerToxic\.attributes\.delay of type int$"):
        SlicerToxic(average_size=1).updated(parse(b'{"delay": []}'))
