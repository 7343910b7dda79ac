"""The proxies on a target's edges: all made on the harness's own Toxiproxy server, or made and borrowed on another one.

On another server a proxy of ours has a name that nobody else uses, and its removal is in the ledger before it exists.
What the harness has not started can't be led to such a proxy. Where somebody has put one already, named after its
edge (`app-postgres`), that one is borrowed: faults act on it, and nothing else about it is touched. What they do
is seen by comparison with the way around it; where that can't be gone from here, a second proxy
(`around-app-postgres`) is it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.clock import NS, now_ns
from harness.errors import StackError, nearest
from harness.faults.base import Edge
from harness.faults.restore import revert
from harness.faults.undo import remove_proxy
from harness.ledger import Ledger, UndoMark
from harness.probes import probe, split
from harness.processes import Processes
from harness.proxy.client import ToxiproxyClient
from harness.scenario.manifest import CLIENT, Target

AROUND = "around-"
"""How the name of a proxy begins that leads where another one leads, for whoever can't get there by itself."""
# Longer than any run: these are taken away at its end, or by the guard when the conductor has died.
_KEPT_S = 7 * 24 * 3600


class Proxies:
    """The edges of a target as they are on a Toxiproxy server, by name; `edges` says what is planned until `make`."""

    def __init__(self, target: Target, api: str, edges: Mapping[str, Edge], upstream: Callable[[str], str]) -> None:
        self.edges = dict(edges)
        self._target = target
        self._api = api
        self._upstream = upstream
        self._borrowed: dict[str, str] = {}
        self._blind: set[str] = set()
        self._made: list[UndoMark] = []

    def make(self, ledger: Ledger, run_id: str) -> None:
        """Put a proxy on every edge that can have one, or find the one that is there."""
        api = ToxiproxyClient(*split(self._api))
        if not self._target.toxiproxy:
            for name, edge in self.edges.items():
                if name in self._target.proxied_edges:
                    api.create(edge.proxy, edge.address, self._upstream(edge.destination))
            self.edges = {name: edge for name, edge in self.edges.items() if name in self._target.proxied_edges}
            return
        known = api.proxies()
        for name, edge in list(self.edges.items()):
            callable_by_us = edge.source == CLIENT or self._target.is_ours(edge.source)
            if edge.proxy in known and not self._target.is_ours(self._target.entry):
                around = known.get(f"{AROUND}{edge.proxy}")
                self.edges[name] = replace(edge, address=self._here(known[edge.proxy].listen))
                self._borrowed[name] = self._here(around.listen) if around else known[edge.proxy].upstream
                # What clients call is needed also where no fault can be.
                if edge.source != CLIENT and not probe(edge.protocol, self._borrowed[name]).ok:
                    self._blind.add(name)
            elif callable_by_us:
                own = replace(edge, proxy=f"{run_id}-{edge.proxy}")
                mark = UndoMark(f"proxy:{name}", now_ns() + _KEPT_S * NS, (remove_proxy(self._api, own.proxy),))
                ledger.undo(mark)
                self._made.append(mark)
                api.create(own.proxy, own.address, self._upstream(edge.destination))
                self.edges[name] = own
            else:
                del self.edges[name]

    def edge(self, name: str) -> Edge:
        """One edge. Raises StackError when it has no proxy, or one at which faults could not be seen."""
        if name in self._blind:
            proxy = self.edges[name].proxy
            raise StackError(
                f"where the proxy `{proxy}` leads to, {self._borrowed[name]}, can't be reached from here, "
                f"so that a slow edge could not be told from a slow {name.partition('->')[2]}",
                remedy=f"make a second proxy to it, `{AROUND}{proxy}`, on the same Toxiproxy server",
            )
        if name in self.edges:
            return self.edges[name]
        raise StackError(
            f"the Toxiproxy server at {self._api} has no proxy `{name.replace('->', '-')}`, "
            f"and what calls {name.partition('->')[2]} runs already",
            remedy="make one there, and let the app call it; " + nearest(name, self.edges),
        )

    def _here(self, listen: str) -> str:
        """Where something listens on the host of the Toxiproxy server, in a container of its own or not."""
        return f"{self._api.rpartition(':')[0]}:{split(listen)[1]}"

    def upstream(self, name: str) -> str:
        """`host:port` that an edge's proxy leads to, unless a fault has led it elsewhere."""
        return self._borrowed.get(name) or self._upstream(self.edge(name).destination)

    def remove(self, ledger: Ledger, processes: Processes) -> None:
        """Take the proxies away that were made on another's server. Raises NotRevertedError."""
        while self._made:
            revert(self._made[-1], ledger, processes, by="conductor")
            self._made.pop()
