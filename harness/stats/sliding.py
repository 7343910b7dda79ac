"""Sums over sliding windows of seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sliding_sums(counts: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Sums of every `length` consecutive rows (axis 0): `rows - length + 1` rows, none when there are fewer."""
    running = np.cumsum(counts, axis=0, dtype=np.int64)
    if len(running) < length:
        return running[:0]
    before = np.concatenate((np.zeros_like(running[:1]), running[:-length]), axis=0)
    return running[length - 1 :] - before
