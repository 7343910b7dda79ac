"""Figures for plotly.js as plain data: traces and layout, no pixels, no library.

Colours are names of the page's palette (`baseline`, `fault`, ...): the page puts in the value for dark or light.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.report.markup import escape
from harness.report.series import Floats


@dataclass(frozen=True, slots=True)
class Span:
    """A named stretch of time in seconds since the arm's start: a phase, or a fault's window."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart: its id in the page, its traces and its layout. `labels` says how wide (s) the room of each
    annotation is, so that the page can leave out those that do not fit.
    """

    id: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    labels: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data, as the page's script reads it."""
        return {"id": self.id, "data": self.traces, "layout": self.layout, "labels": self.labels}


@dataclass(frozen=True, slots=True)
class Frame:
    """The time axis that every chart over time shares: its length, the phases, the fault windows."""

    duration_s: float
    phases: tuple[Span, ...]
    windows: tuple[Span, ...]

    def layout(self, y_title: str, **y_axis: Any) -> dict[str, Any]:
        """A layout with time in seconds along x, phases named on top, fault windows shaded."""
        shapes: list[dict[str, Any]] = [
            _band(w, fillcolor="window", line={"width": 1, "color": "windowedge", "dash": "dot"}) for w in self.windows
        ]
        shapes += [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": p.start_s,
                "x1": p.start_s,
                "y0": 0,
                "y1": 1,
                "line": {"color": "rule", "width": 1, "dash": "dot"},
            }
            for p in self.phases[1:]
        ]
        notes = [_note(p, y=1.0, anchor="bottom") for p in self.phases]
        return {
            "xaxis": {
                "title": {"text": "seconds since the start of the arm"},
                "range": [0, self.duration_s],
                "zeroline": False,
            },
            "yaxis": {"title": {"text": y_title}, "rangemode": "tozero", **y_axis},
            "shapes": shapes,
            "annotations": notes,
        }

    @property
    def labels(self) -> list[float]:
        """Room of each phase's name, as a share of the axis."""
        return [(p.end_s - p.start_s) / self.duration_s for p in self.phases]


def over_time(id: str, frame: Frame, y_title: str, traces: Sequence[dict[str, Any]], **y_axis: Any) -> Figure:
    """Lines over the arm's time, with phases and fault windows behind them."""
    return Figure(id, list(traces), frame.layout(y_title, **y_axis), frame.labels)


def line(name: str, x: Floats, y: Floats, color: str, *, dash: str = "solid", unit: str = "") -> dict[str, Any]:
    """One line; NaN leaves a gap."""
    label = str(escape(name))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": compact(x),
        "y": compact(y),
        "line": {"color": color, "width": 2 if dash == "solid" else 1.75, "dash": dash},
        "hovertemplate": f"%{{y:.4~g}}{unit} at %{{x}} s",
    }


def heat(
    id: str, frame: Frame, x: Floats, rows: Sequence[str], grid: Floats, *, title: str, percent_to: float = 100
) -> Figure:
    """Time along x, one row each for `rows`, the share (0..1) in `grid` as colour from `low` to `high`."""
    layout = frame.layout("", type="category", automargin=True, autorange="reversed", rangemode="normal")
    for shape in layout["shapes"]:
        shape.pop("fillcolor", None)
        shape["layer"] = "above"
    trace = {
        "type": "heatmap",
        "x": compact(x),
        "y": [str(escape(row)) for row in rows],
        "z": [compact(row * 100, digits=3) for row in grid],
        "zmin": 0,
        "zmax": percent_to,
        "colorscale": "heat",
        "hoverongaps": False,
        "ygap": 2 if len(rows) <= 20 else 0,
        "colorbar": {
            "title": {"text": title, "side": "right", "font": {"size": 12, "color": "muted"}},
            "thickness": 10,
            "ticksuffix": " %",
            "outlinewidth": 0,
        },
        "hovertemplate": "%{y}: %{z} % at %{x} s<extra></extra>",
    }
    return Figure(id, [trace], layout, frame.labels)


def distribution(id: str, curves: Iterable[dict[str, Any]], *, timeout_ms: float | None) -> Figure:
    """Cumulative curves over response time on a logarithmic axis, the client's timeout marked where it is known."""
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "response time in ms (each step is ten times the one before)"},
            "type": "log",
            "dtick": 1,
        },
        "yaxis": {"range": [0, 101], "ticksuffix": " %"},
    }
    if timeout_ms is not None:
        at = {"x0": timeout_ms, "x1": timeout_ms, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{"type": "line", **at, "line": {"color": "muted", "width": 1, "dash": "dash"}}]
        layout["annotations"] = [
            {
                "x": _rounded(float(np.log10(timeout_ms)), 6),
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "text": "clients give up",
                "showarrow": False,
                "font": {"size": 11, "color": "muted"},
            }
        ]
    return Figure(id, list(curves), layout, [1.0])


def dumbbell(id: str, rows: Sequence[str], left: Sequence[float | None], right: Sequence[float | None]) -> Figure:
    """Two dots per row on a logarithmic axis in ms, baseline and fault, joined by a line."""
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [a, b],
            "y": [row, row],
            "line": {"color": "rule", "width": 3},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for row, a, b in zip(rows, left, right, strict=True)
        if a is not None and b is not None
    ]
    for name, values, color, symbol in (
        ("baseline", left, "baseline", "circle-open"),
        ("fault", right, "fault", "circle"),
    ):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [None if v is None else _rounded(v, 4) for v in values],
                "y": list(rows),
                "marker": {"color": color, "size": 11, "symbol": symbol, "line": {"color": color, "width": 2}},
                "hovertemplate": "%{y}: %{x:.4~g} ms",
            }
        )
    layout = {
        "xaxis": {"title": {"text": "response time in ms (logarithmic)"}, "type": "log", "dtick": 1},
        "yaxis": {"type": "category", "automargin": True, "autorange": "reversed"},
    }
    return Figure(id, traces, layout)


def compact(values: Floats, *, digits: int = 4) -> list[float | None]:
    """Numbers to `digits` significant digits, NaN and infinities as None: small in the file, the same on every run."""
    return [_rounded(float(value), digits) for value in values]


def _rounded(value: float, digits: int) -> float | None:
    if not np.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def _band(span: Span, **style: Any) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": span.start_s,
        "x1": span.end_s,
        "y0": 0,
        "y1": 1,
        "layer": "below",
        **style,
    }


def _note(span: Span, *, y: float, anchor: str) -> dict[str, Any]:
    return {
        "x": (span.start_s + span.end_s) / 2,
        "y": y,
        "yref": "paper",
        "yanchor": anchor,
        "text": str(escape(span.name)),
        "showarrow": False,
        "font": {"size": 11, "color": "muted"},
    }
