"""Byte counts by direction, listener, proxy and upstream, and their page in the Prometheus text format."""

from __future__ import annotations

from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


@dataclass(frozen=True, slots=True)
class Labels:
    """What a count is of; `direction` is `upstream` or `downstream`."""

    direction: str
    listener: str
    proxy: str
    upstream: str

    def __str__(self) -> str:
        values = {
            "direction": self.direction,
            "listener": self.listener,
            "proxy": self.proxy,
            "upstream": self.upstream,
        }
        return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


@dataclass(slots=True)
class Traffic:
    """Bytes `received` from one side, and how many of these were `withheld`: are still held, or were dropped."""

    received: int = 0
    withheld: int = 0

    @property
    def sent(self) -> int:
        """Bytes handed to the other side's socket."""
        return self.received - self.withheld


@dataclass(slots=True)
class Counters:
    """Every count of a server, for its lifetime."""

    _counts: dict[Labels, Traffic] = field(default_factory=dict)

    def of(self, labels: Labels) -> Traffic:
        """The count with these labels, from 0 when it is new."""
        return self._counts.setdefault(labels, Traffic())

    def page(self) -> str:
        """All counts as Prometheus text. Counts of open connections are included as they stand."""
        lines: list[str] = []
        for kind in ("received", "sent"):
            name = f"toxiproxy_proxy_{kind}_bytes_total"
            lines += (f"# HELP {name} Bytes {kind} by a proxy, by direction.", f"# TYPE {name} counter")
            lines += (f"{name}{{{labels}}} {getattr(count, kind)}" for labels, count in self._counts.items())
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
