"""The proxies on a target's edges: all made on the harness's own Toxiproxy server, or made and borrowed on another one.

On another server a proxy of ours has a name that nobody else uses, and its removal is in the ledger before it exists.
What the harness has not started can't be led to such a proxy. Where somebody has put one already, named after its
edge (`app-postgres`), that one is borrowed: faults act on it, and nothing else about it is touched.
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
from harness.probes import split
from harness.processes import Processes
from harness.proxy.client import ToxiproxyClient
from harness.scenario.manifest import CLIENT, Target

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
                port = split(known[edge.proxy].listen)[1]
                self.edges[name] = replace(edge, address=f"{self._api.rpartition(':')[0]}:{port}")
                self._borrowed[name] = known[edge.proxy].upstream
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
        """One edge. Raises StackError when it has no proxy."""
        if name in self.edges:
            return self.edges[name]
        raise StackError(
            f"the Toxiproxy server at {self._api} has no proxy `{name.replace('->', '-')}`, "
            f"and what calls {name.partition('->')[2]} runs already",
            remedy="make one there, and let the app call it; " + nearest(name, self.edges),
        )

    def upstream(self, name: str) -> str:
        """`host:port` that an edge's proxy leads to, unless a fault has led it elsewhere."""
        return self._borrowed.get(name) or self._upstream(self.edge(name).destination)

    def remove(self, ledger: Ledger, processes: Processes) -> None:
        """Take the proxies away that were made on another's server. Raises NotRevertedError."""
        while self._made:
            revert(self._made[-1], ledger, processes, by="conductor")
            self._made.pop()
