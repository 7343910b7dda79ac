"""A bulkhead: one kind of work may fill its own share of the threads and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shop.errors import Unavailable


class Bulkhead:
    """Lets `size` callers in at a time (0 = no limit) and refuses the next one at once."""

    def __init__(self, part: str, size: int) -> None:
        self._part = part
        self._size = size
        self._free = threading.BoundedSemaphore(max(size, 1))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold a place for the length of the block. Raises Unavailable when there is none."""
        if self._size == 0:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise Unavailable(self._part, "too many at a time")
        try:
            yield
        finally:
            self._free.release()
