"""In which order things went (criterion C5): the propagation path and the saturation chain.

A step `i -> j` stands only where i came before j in at least 95 % of the joint draws and by more than 2 s; anything
closer is a tie. An onset that is not known to 10 s has no place. Earlier is not the same as cause: the path says which
explanations are left.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from harness.analysis.onsets import TIE_S, Located
from harness.analysis.verdict import Evidence, Step

_SURE = 0.95
_TOLD = 8


def find_path(located: Sequence[Located]) -> tuple[Step, ...]:
    """The steps that are sure, without those that follow from others (i -> j -> k makes i -> k)."""
    known = [one for one in located if one.onset.resolved]
    if len(known) < 2:
        return ()
    draws = np.stack([one.draws for one in known])
    gaps = draws[None, :, :] - draws[:, None, :]
    probability = (gaps > 0).mean(axis=2)
    sure = (probability >= _SURE) & (np.median(gaps, axis=2) > TIE_S)
    implied = (sure.astype(int) @ sure.astype(int)) > 0
    return tuple(
        Step(known[i].onset.series, known[j].onset.series, float(probability[i, j]))
        for i, j in np.argwhere(sure & ~implied).tolist()
    )


def find_chain(located: Sequence[Located]) -> tuple[str, ...]:
    """What filled up and what failed, by name in order of time; nothing when no saturation was seen."""
    known = [one.onset for one in located if one.onset.resolved]
    saturated = any(onset.kind in ("waiting", "full") for onset in known)
    return tuple(onset.series for onset in known) if saturated else ()


def judge_order(located: Sequence[Located], path: Sequence[Step]) -> Evidence:
    """C5: in which order things went, where it can be told."""
    known = [one.onset for one in located if one.onset.resolved]
    vague = [one.onset.series for one in located if not one.onset.resolved]
    unresolved = f" Onset unresolved: {', '.join(vague)}." if vague else ""
    if len(known) < 2:
        return Evidence("C5", None, f"Fewer than two onsets are known, so there is no order to tell.{unresolved}")
    steps = {(step.before, step.after): step.probability for step in path}
    text = f"{known[0].series} ({known[0].t_s:.1f} s)"
    for before, onset in itertools.pairwise(known[:_TOLD]):
        probability = steps.get((before.series, onset.series))
        how = ", with it" if probability is None else f"; then, {probability:.0%} sure,"
        text += f"{how} {onset.series} ({onset.t_s:.1f} s)"
    more = f" and {len(known) - _TOLD} more" if len(known) > _TOLD else ""
    return Evidence("C5", bool(path), f"{text}{more}. Within 2 s is a tie.{unresolved}")
