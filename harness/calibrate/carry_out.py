"""Carries out a study on all cores, cell by cell; what is finished is kept in a file, so that it can be stopped."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.calibrate.study import TRUTHS, Cell, Outcomes, judge
from harness.errors import HarnessError

SEED = 1
_BATCH = 50
_JUDGES = (
    "harness.stats.noise",
    "harness.stats.logbins",
    "harness.stats.proportions",
    "harness.stats.paired",
    "harness.stats.multiple",
    "harness.analysis.cells",
    "harness.analysis.seconds",
    "harness.analysis.effects",
    "harness.analysis.decision",
    "harness.analysis.comparisons",
    "harness.analysis.over_pairs",
    "harness.calibrate.noises",
    "harness.calibrate.study",
)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished cell: what came out of its trials, by metric and truth."""

    cell: Cell
    trials: int
    outcomes: Outcomes

    def share(self, metric: str, truth: str, outcome: str) -> float:
        """How often an outcome came."""
        return self.outcomes[metric][truth][outcome] / self.trials


def trials_of(cell: Cell, times: int) -> int:
    """How many trials of a cell: `times`, and four times as many where they are cheap."""
    return 4 * times if cell.numbers == "errors" and cell.repeats == 1 else times


def carry_out(
    cells: Sequence[Cell], times: int, *, kept: Path | None, say: Callable[[str], None], processes: int | None = None
) -> tuple[Result, ...]:
    """The results of all cells in their order; those in the file `kept` are not computed again, new ones are added.

    Lines in the file that are of another version of the judging code, or of fewer trials, are passed over.
    Raises HarnessError when it cannot be written.
    """
    done = dict(_read(kept, cells, times)) if kept is not None else {}
    left = [cell for cell in cells if cell not in done]
    if done:
        say(f"{len(done)} of {len(cells)} cells are in {kept} already")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes or os.cpu_count(), mp_context=context, initializer=_begin)
    try:
        for result in _results(pool, left, times):
            done[result.cell] = result
            if kept is not None:
                _add(kept, result)
            say(f"{len(done)} of {len(cells)}: {_line(result)}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return tuple(done[cell] for cell in cells)


def _results(pool: ProcessPoolExecutor, cells: Iterable[Cell], times: int) -> Iterable[Result]:
    batches: dict[Future[Outcomes], Cell] = {}
    missing: Counter[Cell] = Counter()
    for cell in cells:
        trials = trials_of(cell, times)
        for start in range(0, trials, _BATCH):
            future = pool.submit(judge, cell, range(start, min(trials, start + _BATCH)), SEED)
            batches[future] = cell
            missing[cell] += 1
    parts: dict[Cell, list[Outcomes]] = {cell: [] for cell in missing}
    for future in as_completed(list(batches)):
        cell = batches.pop(future)
        parts[cell].append(future.result())
        if len(parts[cell]) == missing[cell]:
            yield Result(cell, trials_of(cell, times), _sum(parts.pop(cell)))


def _begin() -> None:
    """A worker leaves Ctrl-C to the conductor, which lets it finish what it has begun, and ends when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _sum(parts: Sequence[Outcomes]) -> Outcomes:
    return {
        metric: {truth: sum((part[metric][truth] for part in parts), Counter()) for truth in TRUTHS}
        for metric in parts[0]
    }


def _line(result: Result) -> str:
    wrong = max(result.share(metric, "margin", "fail") for metric in result.outcomes)
    found = min(result.share(metric, "beyond", "fail") for metric in result.outcomes)
    return f"{result.cell.name}: wrong fails at the margin {wrong:.1%}, found beyond it {found:.0%}"


@cache
def _fingerprint() -> str:
    """Of the judging code as it was when it was loaded; whatever is changed in it, results of before are not used."""
    digest = hashlib.sha256()
    for name in _JUDGES:
        file = importlib.import_module(name).__file__
        assert file is not None, "every module of the package has a file"
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def _read(kept: Path, cells: Sequence[Cell], times: int) -> Iterable[tuple[Cell, Result]]:
    by_name, code = {cell.name: cell for cell in cells}, _fingerprint()
    try:
        lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{kept}: cannot be read: {error}", remedy="name another file with --kept") from error
    for line in lines:
        try:
            data = json.loads(line)
        except ValueError:
            continue  # the line that was being written when the machine went down
        cell = by_name.get(data["cell"])
        fits = cell is not None and (data["code"], data["seed"]) == (code, SEED)
        if cell is not None and fits and data["trials"] >= trials_of(cell, times):
            yield cell, Result(cell, data["trials"], _counted(data["outcomes"]))


def _counted(outcomes: Mapping[str, Mapping[str, Any]]) -> Outcomes:
    return {metric: {truth: Counter(found) for truth, found in truths.items()} for metric, truths in outcomes.items()}


def _add(kept: Path, result: Result) -> None:
    line = json.dumps(
        {
            "cell": result.cell.name,
            "code": _fingerprint(),
            "seed": SEED,
            "trials": result.trials,
            "outcomes": result.outcomes,
        }
    )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise HarnessError(
            f"{kept}: cannot be written: {error.strerror}", remedy="name another file with --kept"
        ) from error
