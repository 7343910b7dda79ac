"""What every section of the report is drawn from: the record, the verdict, and the arms aggregated once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from harness.analysis.arrivals import client_timeout_ns
from harness.analysis.verdict import Verdict
from harness.clock import NS
from harness.record.reader import Record
from harness.report import series
from harness.report.charts import Frame, Span
from harness.report.series import Arrivals, Timeline


@dataclass(frozen=True)
class Context:
    """A run, ready to be drawn. Expensive views are made once, when the first section asks for them."""

    record: Record
    verdict: Verdict

    @cached_property
    def baseline_arms(self) -> tuple[str, ...]:
        """Names of the arms without the fault."""
        return self.record.arms_of("baseline")

    @cached_property
    def fault_arms(self) -> tuple[str, ...]:
        """Names of the arms with the fault."""
        return self.record.arms_of("fault")

    @cached_property
    def timeout_s(self) -> float | None:
        """After how long a client gives up; None when the record does not tell."""
        return None if self._timeout_ns is None else self._timeout_ns / NS

    @cached_property
    def _timeout_ns(self) -> int | None:
        arms = (self.record.arm(name) for name in (*self.baseline_arms, *self.fault_arms))
        return client_timeout_ns(self.record.info.scenario, arms)

    @cached_property
    def duration_s(self) -> float:
        """The longest arm, in seconds."""
        ends = [arm.duration_s for arm in self.record.info.arms] + [p.end_s for p in self.record.info.phases]
        return max(ends, default=1.0)

    @cached_property
    def width_s(self) -> float:
        """Seconds per bin of every chart over time."""
        return series.bin_width_s(self.duration_s)

    @cached_property
    def phases(self) -> tuple[Span, ...]:
        """The planned phases."""
        return tuple(Span(p.name, p.start_s, p.end_s) for p in self.record.info.phases)

    @cached_property
    def windows(self) -> tuple[Span, ...]:
        """Each fault from confirmed active to confirmed clear in the first fault arm; as planned if not recorded."""
        if not self.fault_arms:
            return ()
        arm = self.fault_arms[0]
        lasts_s = next((a.duration_s for a in self.record.info.arms if a.name == arm), self.duration_s)
        begun: dict[str, float] = {}
        spans: list[Span] = []
        for event in self.record.events:
            fault = str(event.fields.get("fault", ""))
            if event.arm != arm or not fault:
                continue
            if event.kind == "fault.active":
                begun.setdefault(fault, event.t_ns / NS)
            elif event.kind == "fault.clear" and fault in begun:
                spans.append(Span(fault, begun.pop(fault), event.t_ns / NS))
        spans += [Span(fault, start, lasts_s) for fault, start in begun.items()]
        if not spans:
            spans = [
                Span(f.id, f.at_s, f.at_s + (f.for_s or 0.0)) for f in self.record.info.faults if f.at_s is not None
            ]
        return tuple(sorted(spans, key=lambda span: (span.start_s, span.name)))

    @cached_property
    def compared(self) -> Span:
        """The seconds that are compared: from the first fault's start to the last one's end, else after the warm-up."""
        if self.windows:
            return Span("fault", min(w.start_s for w in self.windows), max(w.end_s for w in self.windows))
        start = self.phases[0].end_s if len(self.phases) > 1 else 0.0
        return Span("measured", start, self.duration_s)

    @cached_property
    def frame(self) -> Frame:
        """The time axis of every chart over time."""
        return Frame(self.duration_s, self.phases, self.windows)

    @cached_property
    def baseline(self) -> Arrivals:
        """All arrivals of the baseline arms."""
        return self._pooled(self.baseline_arms)

    @cached_property
    def fault(self) -> Arrivals:
        """All arrivals of the fault arms."""
        return self._pooled(self.fault_arms)

    @cached_property
    def baseline_timeline(self) -> Timeline:
        """The baseline arms per bin."""
        return self._timeline(self.baseline, len(self.baseline_arms))

    @cached_property
    def fault_timeline(self) -> Timeline:
        """The fault arms per bin."""
        return self._timeline(self.fault, len(self.fault_arms))

    def _pooled(self, arms: tuple[str, ...]) -> Arrivals:
        return series.pool([series.arrivals(self.record.arm(name), timeout_ns=self._timeout_ns) for name in arms])

    def _timeline(self, data: Arrivals, arms: int) -> Timeline:
        return series.timeline(data, duration_s=self.duration_s, width_s=self.width_s, arms=max(1, arms))
