"""What stands on the screen at the end of a run: verdict, expectations, class, recovery, where the report is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.analysis.verdict import Comparison, Verdict
from harness.paths import RunFolder
from harness.report import numbers, words
from harness.report.markup import clean

_STYLES: dict[words.Tone, str] = {"good": "green", "bad": "red", "warn": "yellow", "neutral": "bright_black"}
_WIDTH = 100


def render_text(verdict: Verdict, *, folder: Path, console: Console | None = None) -> str:
    """For standard output (or `console`): in colour on a terminal, plain text elsewhere. `folder`: the run's."""
    out = console or Console()
    if not out.is_terminal:
        return render_plain(verdict, folder=folder)
    with out.capture() as captured:
        out.print(render(verdict, folder=folder))
    return captured.get()


def render(verdict: Verdict, *, folder: Path) -> RenderableType:
    """For a terminal, in colour. Text from outside is never read as markup or as control sequences."""
    sign = words.headline(verdict)
    style = _STYLES[sign.tone]
    title = Text(f" {sign.icon} {sign.word.upper()} ", style=f"bold {style}")
    body = Text(_line(verdict.sentence), style="bold")
    parts: list[RenderableType] = [
        Panel(body, title=title, title_align="left", border_style=style, subtitle=Text(_name(verdict), style="dim"))
    ]
    if verdict.comparisons:
        parts.append(Padding(_table(verdict.comparisons), (0, 1)))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(verdict, folder):
        facts.add_row(label, Text(value))
    parts.append(Padding(facts, (0, 1)))
    return Group(*parts)


def render_plain(verdict: Verdict, *, folder: Path) -> str:
    """The same as plain text, for a log or a pipe: no colour, no control characters, ends with a line end."""
    sign = words.headline(verdict)
    lines = [f"{sign.icon} {sign.word.upper()}: {_name(verdict)}"]
    lines += textwrap.wrap(_line(verdict.sentence), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    for comparison in verdict.comparisons:
        mark = words.OUTCOMES[comparison.outcome]
        lines += ["", f"  {mark.icon} {mark.word}: {_line(comparison.expectation)}"]
        measured = _measured(comparison)
        if measured:
            lines.append(f"      {measured}")
        if comparison.why:
            lines += textwrap.wrap(
                _line(comparison.why), _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
            )
    lines.append("")
    facts = _facts(verdict, folder)
    width = max(len(label) for label, _ in facts)
    lines += [f"  {label:<{width}}  {value}" for label, value in facts]
    return "\n".join(lines) + "\n"


def _table(comparisons: tuple[Comparison, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("expectation", overflow="fold")
    for heading in ("baseline", "with fault", f"difference ({numbers.confidence(comparisons)} interval)"):
        table.add_column(heading, justify="right")
    for comparison in comparisons:
        sign = words.OUTCOMES[comparison.outcome]
        table.add_row(
            Text(f"{sign.icon} {sign.word.lower()}", style=_STYLES[sign.tone]),
            Text(_line(comparison.expectation)),
            numbers.level(comparison, comparison.baseline),
            numbers.level(comparison, comparison.fault),
            numbers.difference(comparison),
        )
        if comparison.outcome != "pass" and comparison.why:
            table.add_row("", Text(_line(comparison.why), style="dim"))
    return table


def _measured(comparison: Comparison) -> str:
    if comparison.difference is not None and not numbers.is_change(comparison):
        return f"with fault {numbers.difference(comparison)}"
    parts = []
    if comparison.baseline is not None:
        parts.append(f"baseline {numbers.level(comparison, comparison.baseline)}")
    if comparison.fault is not None:
        parts.append(f"with fault {numbers.level(comparison, comparison.fault)}")
    if comparison.difference is not None:
        parts.append(f"difference {numbers.difference(comparison)}")
    return ", ".join(parts)


def _facts(verdict: Verdict, folder: Path) -> list[tuple[str, str]]:
    klass = words.CLASSES[verdict.cascade.klass]
    facts = [("damage", f"{klass.icon} {klass.word.lower()}: {_line(words.extent(verdict))}")]
    facts += [("hit", _line(words.impact(verdict.impact)))] if verdict.impact else []
    facts += [("failed", _line(words.failures(verdict)))] if words.failures(verdict) else []
    facts.append(("recovery", _line(words.recovery(verdict.recovery))))
    facts += [("order", _line(words.order(verdict)))] if words.order(verdict) else []
    facts += [("writes", _line(line)) for line in words.audit(verdict)]
    facts += [("repeats", _line(line)) for line in words.repeats(verdict)]
    facts += [("together", _line(words.together(verdict)))] if words.together(verdict) else []
    facts += [("also", _line(words.changes(verdict)))] if words.changes(verdict) else []
    facts += [("note" if verdict.validity.valid else "not valid", _line(reason)) for reason in verdict.validity.reasons]
    return [*facts, ("report", str(RunFolder(folder).report))]


def _name(verdict: Verdict) -> str:
    return _line(f"{verdict.scenario}, {verdict.variant}" if verdict.variant else verdict.scenario)


def _line(value: str) -> str:
    return re.sub(r"\s+", " ", clean(value)).strip()
