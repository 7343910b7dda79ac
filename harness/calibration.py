"""What `harness calibrate` does: the studies on made-up pairs, or real pairs without a fault; and what it tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness import experiment
from harness.calibrate import study, tables
from harness.calibrate.carry_out import carry_out
from harness.calibrate.real import run_pairs
from harness.display import Display
from harness.errors import HarnessError
from harness.exits import Exit

TIMES = 1000
QUICK_TIMES = 100


def real(
    file: Path,
    folder: Path,
    *,
    pairs: int,
    variant: str | None,
    overrides: Sequence[str],
    quiet: bool,
    as_json: bool,
    **_: Any,
) -> int:
    """Real pairs of a scenario's arms without its faults; prints how many raised an alarm."""
    found, ended = run_pairs(
        lambda: experiment.plan(file, variant=variant, overrides=overrides), folder=folder, wanted=pairs, quiet=quiet
    )
    click.echo(json.dumps(found.to_json()) if as_json else found.text(), nl=as_json)
    return found.exit_code if ended is None else ended


def numbers(
    *, times: int | None, quick: bool, kept: Path, docs: Path | None, quiet: bool, as_json: bool, **_: Any
) -> int:
    """Decisions on made-up pairs; prints a summary, and writes the page if asked."""
    cells = study.quick_cells() if quick else study.cells()
    each = times or (QUICK_TIMES if quick else TIMES)
    with Display(quiet=quiet) as display:
        found = carry_out(cells, each, kept=None if quick else kept, say=display.say)
    if docs is not None:
        try:
            docs.write_text(tables.page(found), encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"{docs}: cannot be written: {error.strerror}", remedy="name another file") from error
    click.echo(json.dumps(tables.to_json(found)) if as_json else tables.summary(found), nl=as_json)
    return Exit.FAIL if tables.missed(found) else Exit.PASS


def classes(*, seeds: int, quiet: bool, as_json: bool, **_: Any) -> int:
    """Simulated systems whose fate is known; prints how often their class was right."""
    from harness.calibrate.classes import run_classes

    found = run_classes(range(seeds), say=lambda text: None if quiet else click.echo(text, err=True))
    click.echo(json.dumps(found.to_json()) if as_json else found.text(), nl=as_json)
    return found.exit_code
