"""Tables of figures from several rounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float | None], form: str = "{:,.0f}") -> str:
    """The median, with the smallest and largest when they differ; `-` when nothing is known."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle, low, high = (form.format(value) for value in (median(known), min(known), max(known)))
    return middle if low == high else f"{middle} [{low} to {high}]"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns, the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
