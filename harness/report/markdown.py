"""summary.md: the verdict in a screenful, for a pull request or the step summary of a workflow."""

from __future__ import annotations

import re
from pathlib import Path

from harness.analysis.verdict import Verdict
from harness.report import numbers, words
from harness.report.atomic import write_text
from harness.report.markup import clean

_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")
_STARTS_A_BLOCK = re.compile(r"^([-+=]|\d+(?=[.)]))")
_ONSETS = 6
_REASONS = 5


def write_summary(verdict: Verdict, path: Path) -> None:
    """Write the summary to `path` in one step."""
    write_text(path, render_summary(verdict))


def render_summary(verdict: Verdict) -> str:
    """The summary as GitHub-flavoured Markdown."""
    sign = words.headline(verdict)
    variant = f" ({text(verdict.variant)})" if verdict.variant else ""
    first, rest = words.split(verdict.sentence)
    lines = [
        f"## {sign.icon} {sign.word} – {text(verdict.scenario)}{variant}",
        "",
        f"**{text(first)}** {text(rest)}".strip(),
        "",
    ]
    if verdict.hypothesis:
        lines += [f"> {_STARTS_A_BLOCK.sub(_held_down, text(verdict.hypothesis))}", ""]
    if verdict.comparisons:
        lines += [*_table(verdict), ""]
    klass = words.CLASSES[verdict.cascade.klass]
    lines.append(f"- **Damage: {klass.word.lower()}.** {text(words.extent(verdict))}")
    lines += [f"- **Hit:** {text(words.impact(verdict.impact))}"] if verdict.impact else []
    lines += [f"- **Failed:** {text(found)}"] if (found := words.failures(verdict)) else []
    lines.append(f"- **Recovery:** {text(words.recovery(verdict.recovery))}")
    lines += [f"- **Acknowledged writes:** {text(line)}" for line in words.audit(verdict)]
    lines += [f"- **Repeats:** {text(line)}" for line in words.repeats(verdict)]
    for label, found in (("All expectations together", words.together(verdict)), ("Also", words.changes(verdict))):
        lines += [f"- **{label}:** {text(found)}"] if found else []
    if verdict.cascade.onsets:
        onsets = sorted(verdict.cascade.onsets, key=lambda onset: (onset.t_s, onset.series))
        listed = ", ".join(f"{text(o.series)} at {numbers.seconds(o.t_s)}" for o in onsets[:_ONSETS])
        more = f" and {len(onsets) - _ONSETS} more" if len(onsets) > _ONSETS else ""
        lines.append(f"- **What broke, in order:** {listed}{more}")
    for reason in verdict.validity.reasons[:_REASONS]:
        lines.append(f"- **{'Note' if verdict.validity.valid else 'Not valid'}:** {text(reason)}")
    lines += ["", f"Run `{_code(verdict.run_id)}`; the whole story is in `report.html` beside this file."]
    return "\n".join(lines) + "\n"


def text(value: str) -> str:
    """Text from outside as one line of Markdown that means only itself, also inside a table."""
    line = " ".join(clean(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def _held_down(start: re.Match[str]) -> str:
    """What would begin a list or a rule at the start of a line, so that it does not."""
    return f"{start[0]}\N{ZERO WIDTH SPACE}" if start[0][0].isdigit() else f"\\{start[0]}"


def _table(verdict: Verdict) -> list[str]:
    rows = [
        f"| | Expectation | Baseline | With fault | Difference ({numbers.confidence(verdict.comparisons)} interval) |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for comparison in verdict.comparisons:
        sign = words.OUTCOMES[comparison.outcome]
        rows.append(
            f"| {sign.icon} {sign.word} | {text(comparison.expectation)} "
            f"| {text(numbers.level(comparison, comparison.baseline))} "
            f"| {text(numbers.level(comparison, comparison.fault))} | {text(numbers.difference(comparison))} |"
        )
    return rows


def _code(value: str) -> str:
    return clean(value).replace("`", "'").replace("\n", " ")
