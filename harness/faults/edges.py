"""What faults on edges have in common: the edges beside the ways around them, and toxics on their proxies."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from harness.faults.base import Fault, FaultableStack, Param, Undo
from harness.faults.exchange import View
from harness.faults.undo import remove_toxic
from harness.plan import PlannedFault
from harness.probes import split
from harness.proxy.client import Stream, ToxiproxyClient

_MISSED = 0.05
"""How likely it may be that none of several connections is one of those that are affected."""
_MOST_CLEAR = 30


def direction(default: str = "downstream") -> Param:
    """The parameter that says which way; in the words of Toxiproxy."""
    help = "downstream is what comes back over the edge, upstream what is sent; or both"
    return Param("choice", help, default=default, choices=("downstream", "upstream", "both"))


TOXICITY = Param(
    "percentage", "share of the connections that are affected, drawn for each", default=1.0, least=0.01, most=1.0
)


class EdgeFault(Fault):
    """A fault on one edge or several, each seen by itself: `bites` and `is_gone` are asked about every one."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self.views = self.see()
        self._threads = ThreadPoolExecutor(len(self.views), thread_name_prefix=f"probe-{planned.id}")

    @property
    def api(self) -> ToxiproxyClient:
        """The server of the proxies."""
        return ToxiproxyClient(*split(self.stack.proxy_api))

    def see(self) -> list[View]:
        """The edges that the fault is on."""
        return [View(self.stack.edge(name), self.stack.upstream(name)) for name in self.planned.where]

    @abstractmethod
    def bites(self, view: View) -> bool:
        """Whether a new connection over an edge meets the fault. Takes half a second at most."""

    def is_gone(self, view: View) -> bool:
        """Whether a new connection over an edge is as good as one around it."""
        return view.is_sound() and not self.bites(view)

    def is_active(self) -> bool:
        """Every edge bites."""
        return self._all(self.bites)

    def is_clear(self) -> bool:
        """The fault is gone from every edge."""
        return self._all(self.is_gone)

    def _all(self, question: Callable[[View], bool]) -> bool:
        return all(self._threads.map(question, self.views))


class ToxicFault(EdgeFault):
    """A toxic on each edge. Its parameters may be `direction` and `toxicity`; without them: downstream, all."""

    TOXIC: ClassVar[str]

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._toxicity = float(planned.params.get("toxicity", 1.0))
        way = planned.params.get("direction", "downstream")
        self.streams: tuple[Stream, ...] = ("upstream", "downstream") if way == "both" else (way,)
        missed = math.ceil(math.log(_MISSED) / math.log(1 - self._toxicity)) if self._toxicity < 1 else 1
        self._tries, self._clear_tries = missed, min(missed, _MOST_CLEAR)

    @abstractmethod
    def attributes(self) -> Mapping[str, int]:
        """The settings of the toxic."""

    def undo(self) -> Sequence[Undo]:
        """Take the toxics off the proxies."""
        return [remove_toxic(self.stack.proxy_api, proxy, name) for proxy, name, _ in self._toxics()]

    def inject(self) -> None:
        """Put the toxics on the proxies."""
        api, attributes = self.api, self.attributes()
        for proxy, name, stream in self._toxics():
            api.add_toxic(proxy, name, self.TOXIC, stream, attributes, self._toxicity)

    def is_active(self) -> bool:
        """Every edge bites, of several connections at least one."""
        return self._all(lambda view: any(self.bites(view) for _ in range(self._tries)))

    def is_clear(self) -> bool:
        """The toxics have gone, and so has what they did, from as many connections as it takes to tell.

        What they did can't be told from what other toxics on the same edge still do.
        """
        ours = {name for _, name, _ in self._toxics()}
        left = {view: set(self.api.toxics(view.edge.proxy)) for view in self.views}
        if any(ours & toxics for toxics in left.values()):
            return False
        return self._all(lambda view: bool(left[view]) or all(self.is_gone(view) for _ in range(self._clear_tries)))

    def _toxics(self) -> Iterator[tuple[str, str, Stream]]:
        """(proxy, toxic, stream) of each."""
        for view in self.views:
            for stream in self.streams:
                name = self.planned.id if len(self.streams) == 1 else f"{self.planned.id}-{stream}"
                yield view.edge.proxy, name, stream
