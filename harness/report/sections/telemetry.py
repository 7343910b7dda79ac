"""What the inside of the stack showed: connection pools, workers, queues, in the first pair of arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.clock import NS
from harness.report import charts, numbers, series
from harness.report.charts import Figure
from harness.report.context import Context
from harness.report.figures import figure, sampled
from harness.report.markup import Markup, join
from harness.report.sections import Part, section
from harness.report.series import Floats

_MANY = 8
_COLORS = ("fault", "third", "fourth", "fifth", "sixth", "text")


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: the gauges on it (`metric` -> the word for it), and what it means to somebody who runs no servers."""

    id: str
    title: str
    metrics: dict[str, str]
    words: str


_PANELS = (
    Panel(
        "chart-pool",
        "Database connections in use, and requests waiting for one",
        {"pool_in_use": "in use", "pool_waiting": "waiting"},
        "Each replica has a fixed number of connections. Once all are in use, requests queue up for them, "
        "and a queue that does not drain is how a short fault becomes a long outage.",
    ),
    Panel(
        "chart-workers",
        "Request threads busy",
        {"workers_busy": "busy", "workers_limit": "limit"},
        "Threads that wait for a slow dependency cannot serve anybody else: when all are busy, endpoints that never "
        "use that dependency stop answering as well.",
    ),
    Panel(
        "chart-queue",
        "Requests waiting for a thread",
        {"queue_length": "queue"},
        "Requests that have arrived and that nobody works on yet. Their clients may have given up already.",
    ),
)


@section(id="telemetry", title="Inside the system", short="Inside", order=70)
def telemetry(context: Context) -> Part | None:
    """A chart per panel for which the record has gauges."""
    if not context.fault_arms:
        return None
    drawn = [made for made in (_panel(context, panel) for panel in _PANELS) if made]
    if not drawn:
        return None
    return Part(join(html for html, _ in drawn), tuple(chart for _, chart in drawn))


def _panel(context: Context, panel: Panel) -> tuple[Markup, Figure] | None:
    arm = context.fault_arms[0]
    lines = _lines(context, arm, panel)
    if not lines:
        return None
    shown = lines[:_MANY]
    traces = [
        charts.line(name, t, values, _COLORS[i % len(_COLORS)], dash="dot" if "limit" in name else _dash(i))
        for i, (name, t, values) in enumerate(shown)
    ]
    if context.baseline_arms:
        name, t, values = (_lines(context, context.baseline_arms[0], panel) or shown)[0]
        traces.append(charts.line(f"{name}, baseline", t, values, "baseline", dash="dash"))
    chart = charts.over_time(panel.id, context.frame, "", traces)
    header = ["From", *(name for name, _, _ in shown)]
    times = shown[0][1] - context.width_s / 2
    rows = [
        [numbers.seconds(float(t)), *(numbers.number(float(values[i])) for _, _, values in shown)]
        for i, t in enumerate(times)
    ]
    peaks = ", ".join(f"{name} {numbers.number(float(np.nanmax(values, initial=0.0)))}" for name, _, values in shown)
    more = f" {len(lines) - len(shown)} more are in telemetry.parquet." if len(lines) > len(shown) else ""
    return figure(
        chart,
        panel.title,
        f"{panel.words} Shown is the arm {arm}.{more}",
        alt=f"{panel.title}; highest values: {peaks}.",
        numbers=sampled(panel.title, header, rows, of="telemetry.parquet"),
    ), chart


def _lines(context: Context, arm: str, panel: Panel) -> list[tuple[str, Floats, Floats]]:
    """`(name, times, values)` of each gauge of the panel that has a reading in `arm`; equal limits are drawn once."""
    readings = context.record.telemetry
    found: list[tuple[str, Floats, Floats]] = []
    for metric, word in panel.metrics.items():
        for component in _components(context, arm, metric):
            t_ns, values = readings.series(arm, component, metric)
            t, per_bin = series.resample(
                np.asarray(t_ns) / NS,
                np.asarray(values, dtype=np.float64),
                duration_s=context.duration_s,
                width_s=context.width_s,
            )
            found.append((f"{component} {word}", t, per_bin))
            if word == "limit":
                break
    return found


def _components(context: Context, arm: str, metric: str) -> Sequence[str]:
    return sorted({c for a, c, m in context.record.telemetry.available() if a == arm and m == metric})


def _dash(index: int) -> str:
    return ("solid", "dash", "dashdot", "longdash")[index % 4]
