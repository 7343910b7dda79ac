"""Many looks at one run: p-values adjusted so that the whole family errs as seldom as one test.

`holm` and `step_down` keep the chance of any false alarm in the family; `benjamini_hochberg` keeps the share of false
ones among the alarms, which is enough for exploring and for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Scand. J. Stat. 1979), in the order given; any dependence is allowed."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _placed(np.minimum(1.0, stepped), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Benjamini and Hochberg (JRSS B 1995), in the order given."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return _placed(np.minimum(1.0, stepped), order)


def step_down(p_values: Sequence[float], draws: Floats) -> list[float]:
    """Adjusted p-values that use how the tests hang together: step-down min-P of Westfall and Young (1993).

    `draws` holds one row per resampling and one column per test: standard normal scores of the tests where nothing is
    the matter, large for alarms. The smallest of the result is the p-value of all tests together. Never above Holm's.
    """
    p = _checked(p_values)
    if draws.ndim != 2 or draws.shape[1] != len(p) or not len(draws):
        raise ValueError(f"expected draws with one column for each of {len(p)} tests, got the shape {draws.shape}")
    scores = -ndtri(np.clip(p, 1e-300, 1.0))
    order = np.argsort(p, kind="stable")
    largest = np.maximum.accumulate(draws[:, order[::-1]], axis=1)[:, ::-1]
    beyond = (1 + (largest >= scores[order]).sum(axis=0)) / (1 + len(draws))
    stepped = np.maximum.accumulate(np.maximum(p[order], beyond))
    # Holm's values bound these for any dependence; where they are smaller, it is the draws that were too few to tell.
    return _placed(np.minimum(stepped, np.array(holm(p.tolist()))[order]), order)


def block_scores(series: Sequence[NDArray[np.float64]], length: int, draws: int, seed: int) -> Floats:
    """Joint normal scores of sums over dependent seconds: `draws` rows, a column for each column of `series`.

    Each of `series` is a stretch of seconds (rows) in which every column has its own level. All overlapping blocks of
    `length` seconds of the stretches are multiplied with independent normal numbers, the columns of a block with the
    same one (a block multiplier bootstrap), and the sums are scaled to variance 1. A column that never varies, or
    stretches that are all shorter than two blocks, give independent scores, which is the cautious case.
    """
    rng = np.random.default_rng(seed)
    blocks = [_block_sums(stretch - stretch.mean(axis=0), length) for stretch in series if len(stretch) >= 2 * length]
    width = series[0].shape[1] if series else 0
    independent = rng.standard_normal((draws, width))
    if not blocks:
        return independent
    sums = np.concatenate(blocks)
    size = np.sqrt((sums**2).sum(axis=0))
    joint = rng.standard_normal((draws, len(sums))) @ (sums / np.where(size > 0, size, 1.0))
    return np.where(size > 0, joint, independent)


def _block_sums(stretch: Floats, length: int) -> Floats:
    running = np.concatenate((np.zeros((1, stretch.shape[1])), np.cumsum(stretch, axis=0)))
    return running[length:] - running[:-length]


def _checked(p_values: Sequence[float]) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"expected p-values between 0 and 1, got {p_values}")
    return p


def _placed(values: Floats, order: NDArray[np.intp]) -> list[float]:
    placed = np.empty_like(values)
    placed[order] = values
    return [float(value) for value in placed]
