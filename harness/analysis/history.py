"""What earlier runs of a scenario say about the next one: how its numbers usually are, and how much they wander."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.paths import RunFolder
from harness.plan import Plan

_MOST_RUNS = 50
_FEWEST_RUNS = 3


@dataclass(frozen=True, slots=True)
class Known:
    """A metric of an endpoint without the fault, typical of the runs (medians); fields as in `verdict.Usual`.

    `between`: standard deviation between runs, of the value (error rate) or of its logarithm; None with fewer than 3.
    """

    share: float
    value: float
    spread: float
    between: float | None


@dataclass(frozen=True, slots=True)
class History:
    """`runs` earlier runs of the same scenario, variant and steady rate; `known` by (endpoint, metric)."""

    runs: int = 0
    known: Mapping[tuple[str, str], Known] = field(default_factory=dict)


def read_history(results: Path, plan: Plan) -> History:
    """The valid runs of the plan's scenario in a results folder, the newest 50.

    What was simulated, or can't be read, is not counted.
    """
    verdicts = []
    for folder in sorted(results.glob("*/"), reverse=True):
        verdict = _verdict(RunFolder(folder), plan)
        if verdict is not None:
            verdicts.append(verdict)
        if len(verdicts) == _MOST_RUNS:
            break
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        for row in verdict["usual"]:
            rows.setdefault((row["endpoint"], row["metric"]), []).append(row)
    return History(len(verdicts), {key: _known(key[1], found) for key, found in rows.items()})


def _verdict(folder: RunFolder, plan: Plan) -> dict[str, Any] | None:
    verdict, info = _read(folder.verdict), _read(folder.run_json)
    if (
        verdict is None
        or info is None
        or info.get("simulated")
        or not verdict.get("usual")
        or not verdict["validity"]["valid"]
    ):
        return None
    load = info.get("scenario", {}).get("load", {})
    same = (verdict.get("scenario"), verdict.get("variant")) == (plan.name, plan.variant)
    return verdict if same and load.get("rate") == plan.scenario["load"].get("rate") else None


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None: the folder may hold anything, and history is a help and no duty."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _known(metric: str, rows: list[Mapping[str, Any]]) -> Known:
    share, value, spread = (statistics.median(column) for column in zip(*map(_columns, rows), strict=True))
    return Known(share, value, spread, _between(metric, [float(row["value"]) for row in rows]))


def _columns(row: Mapping[str, Any]) -> Iterator[float]:
    return (float(row[name]) for name in ("share", "value", "spread"))


def _between(metric: str, values: list[float]) -> float | None:
    if len(values) < _FEWEST_RUNS:
        return None
    if metric == "error-rate":
        return statistics.stdev(values)
    return statistics.stdev(math.log(value) for value in values) if min(values) > 0 else None
