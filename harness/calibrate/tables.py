"""What the studies found, as data, as text and as the page in docs/."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.calibrate.carry_out import Result
from harness.calibrate.noises import NOISES
from harness.calibrate.study import TRUTHS

HEADINGS = (
    "setting", "number", "trials", "false alarms, equal", "wrong fails, at the margin", "wrong passes, at the margin",
    "undecided, at the margin", "found, beyond", "undecided, beyond", "goal",
)  # fmt: skip
FEWEST_FOUND = 0.90
_EXPLAINED = """\
# How often the verdict is wrong

This page is written by `harness calibrate --docs docs/calibration.md`; do not edit it. How often the class of a failure
is right is on [a page of its own](classes.md).

A decision on a number (`error-rate increases by < 1pp`, `p95 increases by < 20%`) is `fail`, `pass` or `inconclusive`.
How often a fail or a pass is wrong is measured here on made-up pairs of arms whose true difference is known, judged by
the very functions that judge runs. Three truths:

- **equal**: both arms are alike, as when nothing is wrong. A fail is a false alarm as you would see it.
- **at the margin**: the true difference is exactly what is allowed. This is the hardest case: no truth within the
  margin fails more often than here, and none beyond it passes more often. Of an exact 95 % interval 2.5 % would be
  wrong on either side. The goal is at most 6.5 % of wrong fails, and as few wrong passes, with arms of 60 s and more
  and correlations up to 0.6 from second to second, at most 10 % anywhere; where too little is known the decision has to
  be left open rather than guessed.
- **beyond**: 2 points of errors more, or response times 1.5 times as long. A fail is right. The goal is that 90 % are
  found where 60 s are compared at 200 arrivals a second and seconds are correlated by 0.3; otherwise leaving
  everything open would be the best of all methods. (Of p50 and p95; a p99 rests on a fifth of p95's arrivals.)

The margins are 1 point and 20 %. An arm has 1 % of failures and log-normal response times (median 20 ms, sd 0.5 of the
logarithm); what wanders does so by 15 % (response times) and 20 % (failures), sd. "30 of 60 s" is a fault of 30 s in
arms of 60 s; how much things wander by themselves is learnt from the seconds that the fault leaves alone. Each row is
about one expectation by itself: with several in a scenario, a run fails only when the largest of them is beyond what so
many looks would show (see `p_adjusted`), so that the share of false alarms of the whole is no larger.

A run effect, or a drift from arm to arm, really makes two arms different, and one pair can't know that; it is asked of
repeated pairs (`--repeat`), where the run is the unit and claims are made at 5 % one-sided.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one cell; shares of trials."""

    result: Result
    metric: str

    @property
    def shares(self) -> dict[str, float]:
        """What stands in the table, by its heading."""
        found, metric = self.result, self.metric
        return {
            HEADINGS[3]: found.share(metric, "equal", "fail"),
            HEADINGS[4]: found.share(metric, "margin", "fail"),
            HEADINGS[5]: found.share(metric, "margin", "pass"),
            HEADINGS[6]: found.share(metric, "margin", "inconclusive"),
            HEADINGS[7]: found.share(metric, "beyond", "fail"),
            HEADINGS[8]: found.share(metric, "beyond", "inconclusive"),
        }

    @property
    def goal(self) -> str:
        """`met`, `missed`, or `within error` where the trials are too few to tell a share from its goal."""
        shares, cell = self.shares, self.result.cell
        verdicts = [_at_most(shares[heading], cell.most_wrong, self.result.trials) for heading in HEADINGS[3:6]]
        if cell.must_find and self.metric != "p99":
            verdicts.append(_at_most(1 - shares[HEADINGS[7]], 1 - FEWEST_FOUND, self.result.trials))
        return max(verdicts, key=("met", "within error", "missed").index)


def rows(results: Iterable[Result]) -> tuple[Row, ...]:
    """Every metric of every cell."""
    return tuple(Row(result, metric) for result in results for metric in result.outcomes)


def to_json(results: Sequence[Result]) -> dict[str, Any]:
    """For a program."""
    return {
        "numbers": [
            {
                "cell": row.result.cell.name,
                "metric": row.metric,
                "trials": row.result.trials,
                "outcomes": {truth: dict(row.result.outcomes[row.metric][truth]) for truth in TRUTHS},
                "goal": row.goal,
            }
            for row in rows(results)
        ],
    }


def missed(results: Sequence[Result]) -> tuple[str, ...]:
    """The goals that are missed, in words."""
    return tuple(f"{row.metric} of {row.result.cell.name}" for row in rows(results) if row.goal == "missed")


def summary(results: Sequence[Result]) -> str:
    """For a person at a terminal: the worst of each, and what is missed."""
    lines = []
    for wrong in HEADINGS[3:6]:
        worst = max(rows(results), key=lambda row: row.shares[wrong])
        lines.append(f"most {wrong}: {worst.shares[wrong]:.1%} ({worst.metric} of {worst.result.cell.name})")
    for row in rows(results):
        if row.result.cell.must_find:
            lines.append(f"found: {row.shares[HEADINGS[7]]:.1%} ({row.metric} of {row.result.cell.name})")
    lines += [f"missed: {name}" for name in missed(results)] or ["no goal is shown to be missed"]
    if close := [f"{row.metric} of {row.result.cell.name}" for row in rows(results) if row.goal == "within error"]:
        lines.append(f"above a goal, but by less than the trials can tell: {'; '.join(close)}")
    return "\n".join(lines) + "\n"


def page(results: Sequence[Result]) -> str:
    """The page of the docs."""
    parts = [_EXPLAINED, "## The noises\n", *_noises(), "\n## What was found, in short\n", *_short(results)]
    for numbers, title in (("errors", "Errors: +1 point is allowed"), ("times", "Response times: +20 % are allowed")):
        chosen = [row for row in rows(results) if row.result.cell.numbers == numbers]
        parts += [f"\n## {title}\n", *_table(chosen)]
    return "\n".join(parts) + "\n"


def _noises() -> Iterator[str]:
    yield "| noise | what it is |\n| --- | --- |"
    for noise in NOISES.values():
        yield f"| {noise.name} | {noise.says} |"


def _short(results: Sequence[Result]) -> Iterator[str]:
    yield "```"
    yield summary(results).rstrip()
    yield "```"


def _table(chosen: Sequence[Row]) -> Iterator[str]:
    trials = sorted({row.result.trials for row in chosen})
    errors = ", ".join(f"{196 * _error(0.05, n):.1f} with {n} trials" for n in trials)
    yield f"Shares in percent. Monte-Carlo error of a share of 5 % (95 %), in points: {errors}.\n"
    yield f"| {' | '.join(HEADINGS)} |\n| {' | '.join('---' for _ in HEADINGS)} |"
    for row in chosen:
        setting = row.result.cell.name.partition(", ")[2]
        shares = " | ".join(f"{100 * share:.1f}" for share in row.shares.values())
        yield f"| {setting} | {row.metric} | {row.result.trials} | {shares} | {row.goal} |"


def _error(share: float, trials: int) -> float:
    return math.sqrt(max(share * (1 - share), 1 / trials) / trials)


def _at_most(share: float, most: float, trials: int) -> str:
    if share <= most:
        return "met"
    return "within error" if share - 2 * _error(most, trials) <= most else "missed"
