"""Every endpoint in one table: how often it failed, how long it took, before, during and after."""

from __future__ import annotations

from harness.analysis.verdict import EndpointImpact, EndpointSummary, Failures
from harness.report import numbers, words
from harness.report.context import Context
from harness.report.markup import Content, el, join, table
from harness.report.sections import Part, section

_MANY = 100
_HEADER = (
    "Endpoint",
    "Uses broken part",
    "Requests",
    "Failed",
    "Failed after it",
    "Failed in all",
    "Hit at most",
    "Hit for",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "Attempts per request",
    "Errors with the fault",
)


@section(id="endpoints", title="Endpoint by endpoint", short="Endpoints", order=60)
def endpoints(context: Context) -> Part | None:
    """The worst first. What has no declared path to the broken part should not be touched by it at all."""
    rows = sorted(context.verdict.endpoints, key=lambda e: (-(e.error_rate_fault or 0.0), e.endpoint))
    failures = {one.endpoint: one for one in context.verdict.failures}
    if not rows:
        return None
    intro = (
        "“Uses broken part” is what the target's manifest declares. An endpoint that says no there and fails "
        "nevertheless was reached by the damage through something that is shared."
    )
    if context.verdict.repeats is not None and context.verdict.repeats.used > 1:
        intro += " The numbers are those of the worst pair of runs."
    impact = context.verdict.impact
    if impact is not None:
        intro += (
            f" Hit, all together: {words.impact(impact)}. “Hit at most” is the share of the requests of the worst "
            "second, from the fault on, that failed or were slow beyond the same second of the baseline; “hit for” "
            "is how many seconds differ by more than chance."
        )
    if failures:
        intro += f" All in all, {words.failures(context.verdict)}."
    content = join(
        el("p", intro, class_="words"),
        table(
            "Baseline → with the fault, in the seconds of the fault; the worst first",
            _HEADER,
            [_row(e, failures.get(e.endpoint), impact and impact.per_endpoint.get(e.endpoint)) for e in rows[:_MANY]],
            class_="wide",
            numeric=range(2, 12),
        ),
    )
    if len(rows) > _MANY:
        content = join(content, el("p", f"{len(rows) - _MANY} more endpoints are in verdict.json."))
    return Part(content)


def _row(e: EndpointSummary, failures: Failures | None, hit: EndpointImpact | None) -> list[Content]:
    path = {True: "yes", False: "no", None: numbers.NONE}[e.declared_path]
    errors = sorted(e.errors_fault.items(), key=lambda item: (-item[1], item[0]))
    return [
        e.endpoint,
        path,
        _both(numbers.whole(e.arrivals_baseline), numbers.whole(e.arrivals_fault)),
        _both(numbers.share(e.error_rate_baseline), _loud(e.error_rate_baseline, e.error_rate_fault)),
        _loud(e.error_rate_baseline, e.error_rate_after),
        _both(numbers.whole(failures.failed_baseline), numbers.whole(failures.failed_fault))
        if failures
        else numbers.NONE,
        numbers.NONE if hit is None else numbers.about(hit.share),
        numbers.NONE if hit is None else numbers.seconds(hit.seconds),
        _both(numbers.number(e.p50_baseline_ms), numbers.number(e.p50_fault_ms)),
        _both(numbers.number(e.p95_baseline_ms), numbers.number(e.p95_fault_ms)),
        _both(numbers.number(e.p99_baseline_ms), numbers.number(e.p99_fault_ms)),
        _both(numbers.number(e.attempts_per_arrival_baseline), numbers.number(e.attempts_per_arrival_fault)),
        ", ".join(f"{name} {numbers.whole(count)}" for name, count in errors if name) or numbers.NONE,
    ]


def _both(baseline: Content, fault: Content) -> Content:
    return [baseline, " → ", fault]


def _loud(before: float | None, now: float | None) -> Content:
    """A share; set in bold when it is more than a point above the baseline."""
    text = numbers.share(now)
    return el("strong", text) if now is not None and now - (before or 0.0) > 0.01 else text
