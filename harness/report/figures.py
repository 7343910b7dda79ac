"""The frame around a chart: title, words for everybody, the chart's place, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.report.charts import Figure
from harness.report.markup import Content, Markup, el, join, table

MAX_ROWS = 60


def figure(
    chart: Figure,
    title: str,
    words: Content,
    *,
    alt: str,
    numbers: Markup | None = None,
    rows: int | None = None,
) -> Markup:
    """A chart with what it shows in plain words above, and its numbers below for those who cannot or will not see it.

    `alt` is what the picture says, in one sentence; a reader without scripts gets it with the table. A chart of so many
    `rows` is as tall as they need.
    """
    caption = el("figcaption", el("h3", title), el("p", words, class_="words"))
    place = el(
        "div",
        el("p", "The chart needs JavaScript; its numbers are in the table below.", class_="placeholder"),
        id=chart.id,
        class_="chart",
        style=f"height:{8 + 2.4 * rows:.4g}rem" if rows else None,
        role="img",
        aria_label=alt,
    )
    more = el("details", el("summary", "Numbers of this chart"), numbers) if numbers else None
    return el("figure", caption, place, more)


def sampled(caption: str, header: Sequence[Content], rows: Iterable[Sequence[Content]], *, of: str) -> Markup:
    """A table of at most `MAX_ROWS` evenly spaced rows; says so and names the file that holds them all."""
    every = list(rows)
    step = -(-len(every) // MAX_ROWS) or 1
    note = f" (every {step}th row; all of them: {of})" if step > 1 else ""
    return table(join(caption, note), header, every[::step])
