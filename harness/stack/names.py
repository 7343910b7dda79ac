"""Edges whose address is handed out as a name: a hosts file for each process that calls over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.faults.base import Edge, Lookup
from harness.faults.private_hosts import HOSTS, with_hosts
from harness.probes import split

# Kept free of real names by RFC 6761: whoever is asked for it knows without asking further.
_DOMAIN = "test"


class Names:
    """The names of some edges, and the hosts files in which they stand; the files come with `write`."""

    def __init__(self, edges: Iterable[Edge], folder: Path) -> None:
        self._files: dict[str, str] = {}
        self._lookups: dict[tuple[str, str], Lookup] = {}
        self._folder = folder
        for edge in edges:
            known = self._files.get(edge.source) or _known_here()
            name, host = f"{edge.destination}.{_DOMAIN}", split(edge.address)[0]
            self._lookups[edge.source, edge.destination] = Lookup(self._path(edge.source), name, len(known.encode()))
            self._files[edge.source] = f"{known}{host} {name}\n"

    def write(self) -> None:
        """Make the hosts files."""
        for component, text in self._files.items():
            self._path(component).write_text(text, encoding="utf-8")

    def lookup(self, edge: Edge) -> Lookup | None:
        """How an edge's address is found; None when it is handed out as it is."""
        return self._lookups.get((edge.source, edge.destination))

    def address(self, edge: Edge) -> str:
        """What callers are told: `name:port`, or the edge's address."""
        lookup = self.lookup(edge)
        return f"{lookup.name}:{split(edge.address)[1]}" if lookup else edge.address

    def command(self, component: str, argv: Sequence[str]) -> tuple[str, ...]:
        """How a process of a component is started, so that it knows the names."""
        return with_hosts(self._path(component), argv) if component in self._files else tuple(argv)

    def _path(self, component: str) -> Path:
        return self._folder / f"hosts-{component}"


def _known_here() -> str:
    """What the machine's own hosts file says, with a line end at its end."""
    text = Path(HOSTS).read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
    return f"{text}\n" if text else ""
