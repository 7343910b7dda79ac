"""Carries bytes between two hosts over messages that may be lost, doubled, reordered or damaged: all, once, in order.

Locust does not acknowledge custom messages. So each chunk has a number and a checksum, the receiving end says which
number it expects next, and the sending end keeps (a way to read) every chunk until it is known to have arrived. After
a silence everything since the last acknowledgement is sent again (go-back-N). Nothing here sends or waits: an
`Outbox` says what is to be sent, an `Inbox` whether what came is to be used.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from harness.clock import NS

CHUNK_BYTES: Final = 64 * 1024
"""The most that one chunk carries."""

_WINDOW: Final = 16
_RESEND_AFTER_NS: Final = NS


@dataclass(frozen=True, slots=True)
class Chunk:
    """Number `seq` of a stream: `data` belongs to the `part` (rows, names, ...) of `arm`."""

    seq: int
    arm: str
    part: str
    data: bytes

    @property
    def checksum(self) -> int:
        """CRC-32 of everything in it."""
        return zlib.crc32(self.data, zlib.crc32(f"{self.seq} {self.arm} {self.part}".encode()))

    def to_message(self) -> dict[str, Any]:
        """What travels."""
        return {"seq": self.seq, "arm": self.arm, "part": self.part, "data": self.data, "checksum": self.checksum}

    @classmethod
    def from_message(cls, message: Any) -> Self | None:
        """The chunk that `to_message` made into a message; None when it was damaged on the way."""
        if not isinstance(message, Mapping):
            return None
        seq, arm, part, data = (message.get(name) for name in ("seq", "arm", "part", "data"))
        if not (isinstance(seq, int) and isinstance(arm, str) and isinstance(part, str) and isinstance(data, bytes)):
            return None
        chunk = cls(seq, arm, part, data)
        return chunk if chunk.checksum == message.get("checksum") else None


@dataclass(frozen=True, slots=True)
class _Kept:
    arm: str
    part: str
    read: Callable[[], bytes]


class Outbox:
    """The sending end of a stream: what was put into it and not yet acknowledged."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._first = 0  # the number of _kept[0]
        self._next = 0  # the number to send next
        self._moved_ns = 0

    @property
    def empty(self) -> bool:
        """Whether everything has arrived."""
        return not self._kept

    def put(self, arm: str, part: str, data: bytes) -> None:
        """Add bytes (none at all are a chunk too), kept in memory until they have arrived."""
        for start in range(0, max(1, len(data)), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            self._kept.append(_Kept(arm, part, partial(bytes, piece)))

    def put_file(self, arm: str, part: str, path: Path, start: int, end: int) -> None:
        """Add the bytes `[start, end)` of a file that is only ever appended to; they are read when they are sent."""
        for at in range(start, end, CHUNK_BYTES):
            self._kept.append(_Kept(arm, part, partial(_read, path, at, min(end, at + CHUNK_BYTES))))

    def due(self, now_ns: int) -> list[Chunk]:
        """What to send now: what is new, as far as the window allows, or what was sent and has not arrived."""
        if self._next > self._first and now_ns - self._moved_ns >= _RESEND_AFTER_NS:
            self._next = self._first
        start, self._next = self._next, min(self._first + len(self._kept), self._first + _WINDOW)
        if self._next == start:
            return []
        self._moved_ns = now_ns
        kept = ((seq, self._kept[seq - self._first]) for seq in range(start, self._next))
        return [Chunk(seq, one.arm, one.part, one.read()) for seq, one in kept]

    def acknowledge(self, expected: Any, now_ns: int) -> None:
        """The other end expects the number `expected`: all before it have arrived. Nonsense is ignored."""
        if not isinstance(expected, int) or not self._first < expected <= self._next:
            return
        while self._first < expected:
            self._kept.popleft()
            self._first += 1
        self._moved_ns = now_ns


class Inbox:
    """The receiving end of a stream: `expected` is the number to acknowledge with, after each chunk that came."""

    def __init__(self) -> None:
        self.expected = 0

    def accept(self, message: Any) -> Chunk | None:
        """The chunk in `message` when it is whole and the next one: it is to be used. None for any other."""
        chunk = Chunk.from_message(message)
        if chunk is None or chunk.seq != self.expected:
            return None
        self.expected += 1
        return chunk


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)
