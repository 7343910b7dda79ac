"""slicer: cuts chunks into pieces of about `average_size` bytes, with `delay` us after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from harness.proxy.toxics.base import NS_PER_US, RECEIVE, Chunk, Forward, Pipe, Tap, Toxic, Until, toxic


@toxic("slicer")
@dataclass(frozen=True)
class SlicerToxic(Toxic):
    """`average_size` and `size_variation` in bytes, `delay` in microseconds."""

    average_size: int = 0
    size_variation: int = 0
    delay: int = 0

    INTEGER: ClassVar[str] = "int"

    def pipe(self, tap: Tap) -> Pipe:
        """Pass the pieces of each chunk on one by one, waiting after every one, the last included."""
        while isinstance(chunk := (yield RECEIVE), Chunk):
            for size in self.pieces(chunk.size, tap.random):
                yield Forward(size)
                if self.delay > 0:
                    yield Until(tap.now_ns() + self.delay * NS_PER_US)

    def pieces(self, size: int, random: Random) -> Iterator[int]:
        """Sizes that add up to `size`: it is halved, off the middle by up to `size_variation`, until pieces fit."""
        pending = [size]
        while pending:
            whole = pending.pop()
            if whole <= self.average_size + self.size_variation:
                if whole:
                    yield whole
                continue
            left = whole // 2
            if self.size_variation > 0:
                left += random.randrange(-self.size_variation, self.size_variation)
            pending += (whole - left, left)

    def problem(self) -> str:
        """The real server crashes, on the first data, on sizes that slicing never reaches."""
        if self.average_size < 1:
            return f"average_size must be at least 1, got {self.average_size}"
        if self.size_variation > self.average_size:
            return f"size_variation must not exceed average_size {self.average_size}, got {self.size_variation}"
        if self.average_size + self.size_variation < 1:
            return f"average_size plus size_variation must be at least 1, got {self.size_variation}"
        return ""
