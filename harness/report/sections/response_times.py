"""Response times as percentiles, as a distribution and as a heat map, in the seconds that are compared."""

from __future__ import annotations

import numpy as np

from harness.report import charts, numbers, series
from harness.report.charts import Figure
from harness.report.context import Context
from harness.report.figures import figure
from harness.report.markup import Markup, join, table
from harness.report.sections import Part, section
from harness.report.series import Arrivals

_SHARES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_FEWEST = 20


@section(id="response-times", title="Response times in the compared seconds", short="Response times", order=50)
def response_times(context: Context) -> Part | None:
    """The same seconds of both arms: percentiles, the whole distribution, and how it moved."""
    span = context.compared
    base, fault = (data.between(span.start_s, span.end_s) for data in (context.baseline, context.fault))
    if min(len(fault.response_ms), len(base.response_ms)) < _FEWEST:
        return None
    drawn = [_percentiles(base, fault), _distribution(context, base, fault), _heat(context)]
    return Part(join(html for html, _ in drawn), tuple(chart for _, chart in drawn))


def _percentiles(base: Arrivals, fault: Arrivals) -> tuple[Markup, Figure]:
    shares = list(_SHARES.values())
    found = zip(_SHARES, series.percentiles(base, shares), series.percentiles(fault, shares), strict=True)
    known = [(name, b, f) for name, b, f in found if b is not None or f is not None]
    chart = charts.dumbbell("chart-percentiles", *(list(column) for column in zip(*known, strict=True)))
    rows = [
        [
            name,
            numbers.milliseconds(b),
            numbers.milliseconds(f),
            f"{numbers.number(f / b)}×" if b and f else numbers.NONE,
        ]
        for name, b, f in known
    ]
    return figure(
        chart,
        "Percentiles, baseline and fault",
        "p50 is the typical request, p99 the slowest one in a hundred. A dot is missing where fewer than ten requests "
        "were slower than that: too few to tell.",
        alt="Percentiles of response time in both arms; the numbers are in the table.",
        numbers=table(
            f"Response times of {numbers.whole(len(base.response_ms))} requests in the baseline and "
            f"{numbers.whole(len(fault.response_ms))} with the fault",
            ["Percentile", "Baseline", "With fault", "Ratio"],
            rows,
        ),
    ), chart


def _distribution(context: Context, base: Arrivals, fault: Arrivals) -> tuple[Markup, Figure]:
    curves = []
    for name, data, color, dash in (
        ("baseline", base, "baseline", "dash"),
        ("with the fault", fault, "fault", "solid"),
    ):
        at_ms, share = series.ecdf(data)
        curve = charts.line(name, at_ms, share * 100, color, dash=dash)
        curve["hovertemplate"] = "%{y:.1f} % within %{x:.4~g} ms"
        curves.append(curve)
    chart = charts.distribution(
        "chart-ecdf", curves, timeout_ms=context.timeout_s * 1000 if context.timeout_s else None
    )
    rungs = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
    rows = [
        [numbers.milliseconds(ms), *(numbers.share(float(np.mean(d.response_ms <= ms))) for d in (base, fault))]
        for ms in rungs
    ]
    return figure(
        chart,
        "How many requests were answered by when",
        "The further left and the steeper, the better. Where a curve crosses 50 % is the typical wait. "
        "Failed requests count as the time at which clients give up, or later.",
        alt="Cumulative share of requests by response time in both arms; the numbers are in the table.",
        numbers=table("Share of requests answered within", ["Within", "Baseline", "With fault"], rows),
    ), chart


def _heat(context: Context) -> tuple[Markup, Figure]:
    data = context.fault
    low = max(float(np.quantile(data.response_ms, 0.001)), 0.1)
    high = max(float(data.response_ms.max()), low * 10)
    edges = np.geomspace(low, high * 1.001, 25)
    grid = series.latency_grid(data, edges, duration_s=context.duration_s, width_s=context.width_s)
    names = [f"{numbers.milliseconds(float(f'{edge:.2g}'))}" for edge in edges[:-1]]
    names = [name if names.index(name) == i else f"{name} " for i, name in enumerate(names)]
    top = float(np.nanmax(grid, initial=0.0)) * 100
    chart = charts.heat(
        "chart-heat",
        context.frame,
        context.fault_timeline.t_s,
        names,
        grid,
        title="of the requests",
        percent_to=min(100.0, max(10.0, round(top))),
    )
    chart.layout["yaxis"].update({"autorange": True, "nticks": 8})
    chart.traces[0]["ygap"] = 0
    return figure(
        chart,
        "Where the response times were, second by second",
        "Fault arm. A dark band low down is a system that answers quickly; a band that splits or climbs shows queues "
        "that fill, and a second band higher up is people waiting until they give up.",
        alt="Distribution of response times of the fault arm over time.",
    ), chart
