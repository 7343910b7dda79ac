"""Errors, response times and useful work over time: baseline and fault overlaid, phases and fault windows behind."""

from __future__ import annotations

import numpy as np

from harness.report import charts, numbers, series
from harness.report.charts import Figure
from harness.report.context import Context
from harness.report.figures import figure, sampled
from harness.report.markup import Markup, join
from harness.report.sections import Part, section
from harness.report.series import Floats

_MANY_ENDPOINTS = 30


@section(id="over-time", title="Errors and response times over time", short="Over time", order=40)
def over_time(context: Context) -> Part | None:
    """Three charts over time and, where there are several endpoints, which of them failed when."""
    if not len(context.fault.intended_s) and not len(context.baseline.intended_s):
        return None
    drawn = [_errors(context), _p95(context), _work(context)]
    if len(context.fault.names) > 1:
        drawn.append(_by_endpoint(context))
    return Part(join(html for html, _ in drawn), tuple(chart for _, chart in drawn))


def _errors(context: Context) -> tuple[Markup, Figure]:
    base, fault = context.baseline_timeline, context.fault_timeline
    chart = charts.over_time(
        "chart-errors",
        context.frame,
        "failed requests",
        _pair(context, base.error_rate * 100, fault.error_rate * 100, unit=" %"),
        ticksuffix=" %",
        range=[0, _ceiling(base.error_rate * 100, fault.error_rate * 100, least=5, most=104)],
    )
    peak = float(np.nanmax(fault.error_rate, initial=0.0))
    text = (
        f"Share of requests that failed, per {_bin(context)}. The fault arm peaks at {numbers.share(peak)}, "
        f"the baseline at {numbers.share(float(np.nanmax(base.error_rate, initial=0.0)))}."
    )
    return figure(
        chart,
        "How many requests failed",
        "Out of every hundred requests, how many ended without a right answer, retries included. "
        "The shaded time is when the fault was on. If the line stays up after it, removing the cause was not enough.",
        alt=text,
        numbers=_numbers(context, "Failed requests", base.error_rate, fault.error_rate, numbers.share),
    ), chart


def _p95(context: Context) -> tuple[Markup, Figure]:
    base, fault = context.baseline_timeline, context.fault_timeline
    chart = charts.over_time(
        "chart-p95",
        context.frame,
        "p95 response time",
        _pair(context, base.p95_ms, fault.p95_ms, unit=" ms"),
        ticksuffix=" ms",
    )
    peak = float(np.nanmax(fault.p95_ms, initial=0.0))
    return figure(
        chart,
        "How long the slowest 5 % waited",
        "19 out of 20 requests were at least this fast (p95), measured from the moment the user wanted the answer. "
        f"A failed request counts as at least {_timeout(context)}. "
        "The line ends where requests were still in flight at the end of the recording.",
        alt=f"p95 response time per {_bin(context)}; the fault arm peaks at {numbers.milliseconds(peak)}.",
        numbers=_numbers(context, "p95 response time", base.p95_ms, fault.p95_ms, numbers.milliseconds),
    ), chart


def _work(context: Context) -> tuple[Markup, Figure]:
    base, fault = context.baseline_timeline, context.fault_timeline
    sent = fault.attempts / fault.width_s
    traces = [
        charts.line("right answers, baseline", base.t_s, base.goodput, "baseline", dash="dash", unit=" per s"),
        charts.line("right answers, fault", fault.t_s, fault.goodput, "fault", unit=" per s"),
        charts.line("requests sent, fault (with retries)", fault.t_s, sent, "third", dash="dot", unit=" per s"),
    ]
    chart = charts.over_time("chart-work", context.frame, "per second", traces)
    return figure(
        chart,
        "Work asked for and work that came out right",
        "When clients retry, the system is asked for more just when it can do less. The wider the gap between what "
        "is sent and what is answered right, the more of its work is wasted.",
        alt=f"Requests sent and right answers per second, per {_bin(context)}.",
        numbers=_numbers(context, "Right answers per second", base.goodput, fault.goodput, numbers.number),
    ), chart


def _by_endpoint(context: Context) -> tuple[Markup, Figure]:
    grid = series.error_grid(context.fault, duration_s=context.duration_s, width_s=context.width_s)
    ranked = sorted(range(len(grid)), key=lambda i: (-float(np.nansum(grid[i])), context.fault.names[i]))
    ranked = ranked[:_MANY_ENDPOINTS]
    names = [context.fault.names[i] for i in ranked]
    chart = charts.heat(
        "chart-endpoints", context.frame, context.fault_timeline.t_s, names, grid[ranked], title="failed"
    )
    more = len(grid) - len(ranked)
    return figure(
        chart,
        "Which endpoint failed when",
        "One row per endpoint of the fault arm, the worst on top; the stronger the colour, the more of its requests "
        "failed. Damage that moves to rows that do not use the broken part is what makes a failure cascade."
        + (f" {more} more endpoints, less affected, are not drawn." if more else ""),
        alt="Error rate per endpoint over time; the table of endpoints below has the numbers.",
        rows=len(names),
    ), chart


def _pair(context: Context, base: Floats, fault: Floats, *, unit: str) -> list[dict[str, object]]:
    return [
        charts.line("baseline", context.baseline_timeline.t_s, base, "baseline", dash="dash", unit=unit),
        charts.line("with the fault", context.fault_timeline.t_s, fault, "fault", unit=unit),
    ]


def _numbers(context: Context, what: str, base: Floats, fault: Floats, write: object) -> Markup:
    assert callable(write)
    times = context.fault_timeline.t_s - context.width_s / 2
    rows = ([numbers.seconds(t), write(b), write(f)] for t, b, f in zip(times, base, fault, strict=True))
    return sampled(f"{what} over time", ["From", "Baseline", "With fault"], rows, of="samples.parquet")


def _timeout(context: Context) -> str:
    known = context.timeout_s
    return f"{numbers.seconds(known)}, when clients give up" if known else "the time until it failed"


def _bin(context: Context) -> str:
    return "second" if context.width_s == 1 else f"{numbers.number(context.width_s)} s"


def _ceiling(*values: Floats, least: float, most: float) -> float:
    top = max((float(np.nanmax(v, initial=0.0)) for v in values), default=0.0)
    return min(max(round(top * 1.08, 1), least), most)
