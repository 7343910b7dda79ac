"""Whole distributions compared: Kolmogorov-Smirnov and Wasserstein distance, p-values by permuting blocks of seconds.

Requests of one second resemble each other, so requests cannot be permuted: the p-value of a plain Kolmogorov-Smirnov
test is wrong by a factor of ten and more. What can be exchanged, where nothing is the matter, are whole blocks of
seconds between the arms. The cost is that of seconds and bins, whatever the number of requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
Floats = NDArray[np.float64]

FEWEST_BLOCKS = 6
_FLIPS = 999
_WIDEST = 128


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two distributions lie apart.

    `ks`: the largest difference of the distribution functions. `wasserstein`: the area between them, in the unit of
    the values: how far an answer moved on average. The p-values are None with fewer than six blocks.
    """

    ks: float
    wasserstein: float
    ks_p: float | None
    wasserstein_p: float | None
    blocks: int


def distance(one: Counts, other: Counts, values: Floats, block: int, seed: int) -> Distance | None:
    """Histograms per second (rows) of two arms over the same seconds and the same bins, with the bins' `values`.

    Blocks of `block` seconds are swapped between the arms. None when an arm is empty.
    """
    if not one.sum() or not other.sum():
        return None
    observed = _distances(one.sum(axis=0)[None].astype(float), other.sum(axis=0)[None].astype(float), values)
    ks, wasserstein = (float(found[0]) for found in observed)
    blocks = math.ceil(len(one) / block)
    if blocks < FEWEST_BLOCKS:
        return Distance(ks, wasserstein, None, None, blocks)
    starts = np.arange(0, len(one), block)
    first, second, coarse = _coarser(
        np.add.reduceat(one, starts, axis=0).astype(float), np.add.reduceat(other, starts, axis=0).astype(float), values
    )
    flips = _flips(blocks, seed)
    together, apart = (first + second).sum(axis=0), flips @ (first - second)
    swapped = _distances((together + apart) / 2, (together - apart) / 2, coarse)
    unswapped = _distances(first.sum(axis=0)[None], second.sum(axis=0)[None], coarse)
    p = [
        float((found >= true[0] * (1 - 1e-9)).mean()) for found, true in zip(swapped, unswapped, strict=True)
    ]  # the observed assignment is among the flips, so that p is never zero
    return Distance(ks, wasserstein, p[0], p[1], blocks)


def _distances(one: Floats, other: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The two distances between the histograms in the rows of `one` and `other`."""
    shares = []
    for counts in (one, other):
        running = np.cumsum(counts, axis=1)
        shares.append(running / np.maximum(running[:, -1:], 1e-300))
    gap = np.abs(shares[0] - shares[1])
    return gap.max(axis=1), gap[:, :-1] @ np.diff(values)


def _coarser(one: Floats, other: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """The same with at most 128 bins, merged where there is the least to tell apart: by equal counts, not by width."""
    total = (one + other).sum(axis=0)
    if len(values) <= _WIDEST:
        return one, other, values
    running = np.cumsum(total)
    group = np.minimum((running - total / 2) / running[-1] * _WIDEST, _WIDEST - 1).astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    weight = np.add.reduceat(total, starts)
    centres = np.add.reduceat(total * values, starts) / np.maximum(weight, 1e-300)
    centres = np.where(weight > 0, centres, values[starts])
    return np.add.reduceat(one, starts, axis=1), np.add.reduceat(other, starts, axis=1), centres


def _flips(blocks: int, seed: int) -> Floats:
    """Signs for every block, one row each: all of them where they are few, else a sample; the first is unswapped."""
    if 2**blocks <= _FLIPS + 1:
        numbers = np.arange(2**blocks)
        return np.where((numbers[:, None] >> np.arange(blocks)) & 1, -1.0, 1.0)
    flips = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_FLIPS + 1, blocks))
    flips[0] = 1.0
    return flips
