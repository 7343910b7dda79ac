"""Which connections a toxic touches: its toxicity is a share of them, and each has its luck for good."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import cast

from harness.proxy.link import Link, PlacedToxic
from harness.proxy.stage import Surroundings
from harness.proxy.timers import Timers
from harness.proxy.toxics.timeout import TimeoutToxic
from harness.proxy.traffic import Traffic

CONNECTIONS = 4000


class Socket:
    """Both ends of a link: what is read goes to `forward`, what is written is kept."""

    forward: Callable[[bytes], object]

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass

    def crowded(self) -> None:
        pass

    def room(self) -> None:
        pass


class Crowd:
    """Connections of one proxy."""

    def __init__(self) -> None:
        surroundings = Surroundings(cast(Timers, None), Random(1), lambda: None)
        self.sockets = [Socket() for _ in range(CONNECTIONS)]
        self.links = [Link(sock, sock, Traffic(), surroundings) for sock in self.sockets]  # type: ignore[arg-type]  # as much of a transport as a link uses

    def touched(self, *toxicities: float) -> set[int]:
        """Which connections let nothing through, with a toxic for each of these toxicities."""
        toxics = [
            PlacedToxic(f"t{number}", "upstream", share, TimeoutToxic()) for number, share in enumerate(toxicities)
        ]
        touched = set()
        for number, (sock, link) in enumerate(zip(self.sockets, self.links, strict=True)):
            link.apply(toxics)
            sock.written = b""
            sock.forward(b"x")
            if not sock.written:
                touched.add(number)
        return touched


def is_share(touched: set[int], share: float) -> bool:
    """Within four standard deviations."""
    return abs(len(touched) - CONNECTIONS * share) <= 4 * (CONNECTIONS * share * (1 - share)) ** 0.5


def test_toxicity_is_a_share_of_the_connections_and_drawn_once_for_each() -> None:
    crowd = Crowd()
    some = crowd.touched(0.3)
    assert is_share(some, 0.3)
    assert crowd.touched(0.3) == some
    more = Crowd().touched(0.8)
    assert is_share(more, 0.8)
    assert some < more, "the same draw decides at any toxicity"
    assert len(Crowd().touched(1.0)) == CONNECTIONS
    assert not Crowd().touched(0.0)


def test_every_toxic_has_a_draw_of_its_own() -> None:
    assert is_share(Crowd().touched(0.5, 0.5), 0.75)
