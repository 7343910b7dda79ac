"""The custom messages between the Locust master on the conductor's host and the agents on the load hosts.

    agent -> master   hello                     who I am (`identity`), once a second until answered
    master -> agent   welcome {number, workers} you are load worker `number` (from 0) of `workers`
                      refused {message}         go away, for this reason; also said to an agent that was given up
    both ways         chunk, ack {expected}     the stream (see `transport`): parts as below
    master -> agent   ping {sent_ns}            every `PING_INTERVAL_S`; agent -> master: pong, see `clocks`

Parts of the stream to an agent: `command`, a JSON object (`prepare` with a `WorkerSpec`, `go`, `stop`, `kill`, `end`),
and `file:NAME`, the next bytes of a file of the bundle. Parts of the stream to the master: `rows`, `names`, `acked`
and `log`, the next bytes of these files of the arm, and `event`, a JSON object as `harness.load.worker` says it, or
`ended {exit_code}`, which is the last of an arm.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from harness import __version__ as harness_version

HELLO: Final = "harness-hello"
WELCOME: Final = "harness-welcome"
REFUSED: Final = "harness-refused"
CHUNK: Final = "harness-chunk"
ACK: Final = "harness-ack"
PING: Final = "harness-ping"
PONG: Final = "harness-pong"

VERSION: Final = 2
"""Of these messages."""

PING_INTERVAL_S: Final = 0.1
LOST_AFTER_S: Final = 3.0
"""Either end gives the other up when it has not heard from it for so long."""

_MUST_AGREE: Final = {"protocol": "messages", "harness": "harness", "locust": "Locust", "python": "Python"}


def identity() -> dict[str, Any]:
    """Who this end is: its versions, and the host for people to recognise."""
    return {
        "protocol": VERSION,
        "harness": harness_version,
        "locust": ".".join(metadata.version("locust").split(".")[:2]),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "host": socket.gethostname(),
        "cores": len(os.sched_getaffinity(0)),
    }


def disagreement(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Why the two ends cannot work together, naming the versions; empty when they can.

    The workers of an arm share one schedule that each computes by itself, so they have to be the same program.
    """
    for key, title in _MUST_AGREE.items():
        if here.get(key) != there.get(key):
            return (
                f"{there.get('host', 'the load host')} has version {there.get(key)} of {title},"
                f" {here.get('host', 'the conductor')} has {here.get(key)}: install the same on both"
            )
    return ""


class Silence:
    """Whether nothing was heard for `LOST_AFTER_S`, in turns of its own: our own standstill is not theirs."""

    TURN_S: Final = 0.5

    def __init__(self) -> None:
        self._turns = 0

    def broken(self) -> None:
        """Something was heard."""
        self._turns = 0

    def turn(self) -> bool:
        """Call it every `TURN_S`; whether it has been too long."""
        self._turns += 1
        return self._turns * self.TURN_S > LOST_AFTER_S
