"""One arm of a run: the same start, the same load, with or without the faults, everything recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from harness import interrupt
from harness.abort import AbortWatch
from harness.clock import NS, now_ns, seconds, sleep_until
from harness.display import Display, Snapshot
from harness.errors import HarnessError, NotRevertedError, RecordError, StackError
from harness.exits import Exit
from harness.faults.guard import Guard
from harness.faults.timeline import FaultTimeline
from harness.ledger import Ledger
from harness.load.spec import Progress, WorkerSpec
from harness.load.validity import WorkerResult, validity_reasons
from harness.load.workers import Crew, LoadWorkers
from harness.paths import RunFolder
from harness.plan import Arm, Plan
from harness.processes import Processes
from harness.record.acknowledged import read_acknowledged
from harness.record.audit import AckedWrite, ArmAudit
from harness.record.info import WorkerClockInfo
from harness.record.writer import ArmStart, RecordWriter
from harness.stack.local import LocalStack
from harness.telemetry import sources
from harness.telemetry.machine import machine
from harness.telemetry.scraper import Scraper
from harness.telemetry.sources import Source

TICK_NS = NS // 10
RATE_WINDOW_S = 2.0
READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0


class Aborted(HarnessError):
    """An abort condition of the scenario was met."""

    exit_code = Exit.ABORTED


class ArmRun:
    """Carries out one arm: reset, load, faults, telemetry; then collects what the load workers wrote."""

    def __init__(
        self,
        plan: Plan,
        arm: Arm,
        *,
        stack: LocalStack,
        processes: Processes,
        ledger: Ledger,
        guard: Guard,
        writer: RecordWriter,
        folder: RunFolder,
        display: Display,
        crew: Crew | None = None,
    ) -> None:
        self._plan = plan
        self._arm = arm
        self._stack = stack
        self._guard = guard
        self._writer = writer
        self._display = display
        audit = stack.target.audit
        self._acknowledges = (audit.endpoint, audit.key) if audit else None
        specs = [
            WorkerSpec(
                arm=arm.name,
                worker=number,
                workers=plan.load.workers,
                host=stack.url,
                spool=str(folder.spool / f"{arm.name}-{number}.rows"),
                load=plan.load_of(arm),
                abort_when=plan.abort_when,
                acknowledges=self._acknowledges,
            )
            for number in range(plan.load.workers)
        ]
        self._workers = LoadWorkers(specs, spawn=processes.spawn_with_pipes(folder.logs), crew=crew)
        self._timeline = FaultTimeline(
            plan.faults if arm.kind == "fault" else (),
            arm=arm.name,
            stack=stack,
            processes=processes,
            ledger=ledger,
            on_event=self._event,
            clients=self._workers,
        )
        self._scraper = Scraper(_sources(stack), self._reading)
        self._abort = AbortWatch(plan.abort_when)
        self._recent: deque[Progress] = deque()
        self._results: list[WorkerResult] = []
        self._start: ArmStart | None = None
        self._collected = False
        self._t0_ns = 0

    def run(self) -> list[str]:
        """Run the arm to its end; returns what makes it invalid, if anything.

        Raises Aborted, Interrupted or whatever HarnessError stopped it, after the faults were reverted and the rows
        so far collected.
        """
        self._display.say(f"{self._arm.name}: resetting the stack, starting {self._plan.load.users} virtual users")
        cleanup = ExitStack()
        try:
            cleanup.callback(self._workers.kill)
            self._workers.start()
            self._stack.reset()
            self._workers.wait_ready(READY_TIMEOUT_S)
            cleanup.callback(self._scraper.stop)
            cleanup.callback(self._collect)
            cleanup.callback(self._timeline.revert_now)
            self._begin()
            self._follow()
            self._timeline.finish()
            self._raise_fault_errors()
        finally:
            with interrupt.held():
                cleanup.close()
        self._audit()
        reasons = validity_reasons(self._results, self._arm.kind)
        if self._start is not None:
            self._start = replace(self._start, invalid=tuple(reasons))
        return reasons

    @property
    def start(self) -> ArmStart | None:
        """The arm as it was begun, for the record; None when it never was."""
        return self._start

    @property
    def collected(self) -> bool:
        """Whether all the rows that its workers have counted are in the record."""
        complete = all(result.rows == result.spool_rows for result in self._results)
        return self._start is None or (self._collected and complete)

    @property
    def not_reverted(self) -> tuple[NotRevertedError, ...]:
        """What could not be taken back, whatever else ended the arm."""
        return tuple(error for error in self._timeline.errors if isinstance(error, NotRevertedError))

    def _begin(self) -> None:
        lead_ns = self._workers.lead_ns
        self._t0_ns = now_ns() + lead_ns
        start_utc = (datetime.now(UTC) + timedelta(seconds=seconds(lead_ns))).isoformat(timespec="milliseconds")
        self._start = ArmStart(
            self._arm.name,
            self._arm.kind,
            self._arm.pair,
            start_utc,
            self._t0_ns,
            self._plan.arm_duration_s,
            load=self._arm.load,
        )
        self._writer.begin(self._start)
        self._workers.go(self._t0_ns)
        self._scraper.start(self._t0_ns)
        self._timeline.start(self._t0_ns)

    def _follow(self) -> None:
        """Until the arm's end: phases, abort conditions, the health of every part, the display."""
        boundaries = sorted(self._boundaries(), reverse=True)
        end_ns = self._t0_ns + int(self._plan.arm_duration_s * NS)
        while (now := now_ns()) < end_ns:
            while boundaries and self._t0_ns + boundaries[-1][0] <= now:
                t_ns, _, kind, phase = boundaries.pop()
                self._event(kind, t_ns=t_ns, phase=phase)
            interrupt.check()
            self._watch(now)
            sleep_until(min(now + TICK_NS, end_ns, *(self._t0_ns + one[0] for one in boundaries[-1:])))
        for t_ns, _, kind, phase in reversed(boundaries):
            self._event(kind, t_ns=t_ns, phase=phase)

    def _boundaries(self) -> Iterable[tuple[int, int, str, str]]:
        for phase in self._plan.phases:
            # At the same instant one phase ends before the next one starts.
            yield int(phase.start_s * NS), 1, "phase.start", phase.name
            yield int(phase.end_s * NS), 0, "phase.end", phase.name

    def _watch(self, now: int) -> None:
        self._guard.keep()
        self._stack.check()
        self._raise_fault_errors()
        progress = self._workers.latest()
        if progress is None:
            return
        self._show(progress, now)
        if breach := self._abort.feed(seconds(progress.t_ns), progress.watched):
            self._event("abort", t_ns=now_ns() - self._t0_ns, reason=breach)
            raise Aborted(f"stopped by an abort condition: {breach}")

    def _show(self, progress: Progress, now: int) -> None:
        t_s = seconds(now - self._t0_ns)
        if not self._recent or progress.t_ns > self._recent[-1].t_ns:
            self._recent.append(progress)
        while len(self._recent) > 2 and self._recent[0].t_ns < progress.t_ns - RATE_WINDOW_S * NS:
            self._recent.popleft()
        first = self._recent[0]
        finished, passed_s = progress.finished - first.finished, seconds(progress.t_ns - first.t_ns)
        phase = next((one for one in self._plan.phases if one.start_s <= t_s < one.end_s), self._plan.phases[-1])
        self._display.show(
            Snapshot(
                arm=self._arm.name,
                phase=phase.name,
                t_s=t_s,
                duration_s=self._plan.arm_duration_s,
                rate=finished / passed_s if passed_s else None,
                error_rate=(progress.failed - first.failed) / finished if finished else None,
                p95_s=None if progress.p95_ms is None else progress.p95_ms / 1000,
                in_flight=progress.in_flight,
                faults=self._timeline.states,
            )
        )

    def _raise_fault_errors(self) -> None:
        for error in (*self.not_reverted, *self._timeline.errors):
            raise error

    def _collect(self) -> None:
        """Ask the workers to finish, and put their rows into the record; also after an error."""
        if self._start is None:
            return
        elapsed_s = seconds(now_ns() - self._t0_ns)
        if elapsed_s < self._plan.arm_duration_s:
            self._workers.stop()
            self._start = replace(self._start, duration_s=max(elapsed_s, 0.001))
        self._results = self._workers.wait(END_TIMEOUT_S)
        clocks = tuple(WorkerClockInfo.of(result.name, result.clock) for result in self._results if result.clock)
        self._start = replace(self._start, worker_clocks=clocks)
        for result in self._results:
            for health in result.health:
                for metric in ("cpu_percent", "lag_p99_ms", "users_free"):
                    self._reading(health.t_ns, result.name, metric, getattr(health, metric))
            for note in result.notes:
                self._event("note", t_ns=now_ns() - self._t0_ns, text=f"{result.name}: {note}")
                self._display.say(f"{self._arm.name}: {result.name}: {note}")
        self._writer.add_samples(self._arm.name, [result.spool for result in self._results])
        self._collected = True

    def _audit(self) -> None:
        """Look up what clients were told is stored, now that load and faults are over, and before the next reset."""
        if self._acknowledges is None:
            return
        self._display.say(f"{self._arm.name}: looking up the acknowledged writes of {self._acknowledges[0]}")
        found = audit_arm(self._stack, [result.spool for result in self._results])
        if found.problem:
            self._display.say(f"{self._arm.name}: they could not be looked up: {found.problem}")
        self._writer.audit(*self._acknowledges, self._arm.name, found)

    def _event(self, kind: str, *, t_ns: int, **fields: Any) -> None:
        self._writer.event(kind, arm=self._arm.name, t_ns=t_ns, **fields)

    def _reading(self, t_ns: int, component: str, metric: str, value: float) -> None:
        self._writer.reading(self._arm.name, t_ns, component, metric, value)


def audit_arm(stack: LocalStack, spools: Sequence[Path]) -> ArmAudit:
    """What became of the writes that were acknowledged to the clients of an arm; or why nobody knows."""
    acknowledged: dict[str, int] = {}
    try:
        acknowledged = read_acknowledged(spools)
        found = stack.audit(list(acknowledged))
    except (RecordError, StackError) as error:
        return ArmAudit(acknowledged=len(acknowledged), problem=error.message)

    def listed(keys: Sequence[str]) -> tuple[AckedWrite, ...]:
        writes = [AckedWrite(key=key, acknowledged_s=round(seconds(acknowledged[key]), 3)) for key in keys]
        return tuple(sorted(writes, key=lambda write: (write.acknowledged_s, write.key)))

    return ArmAudit(
        acknowledged=len(acknowledged),
        missing=listed(found.missing),
        doubled=listed(found.doubled),
        unacknowledged=found.unacknowledged,
    )


def _sources(stack: LocalStack) -> list[Source]:
    pages = [
        sources.metrics_page(
            replica.name,
            replica.management_address if stack.target.processes[replica.component].management else replica.address,
        )
        for replica in stack.replicas
    ]
    target = stack.target
    foreign = (name for name, process in target.processes.items() if process.url is not None)
    pages += [sources.metrics_page(target.instances(name)[0], stack.address(name)) for name in foreign]
    engines = {"postgres": sources.postgres, "redis": sources.valkey}
    servers = [engines[stack.protocol(name)](name, stack.watch_url(name)) for name in stack.servers]
    for group in stack.watched:
        servers.append(sources.valkey(group.replica, f"redis://{group.addresses[group.replica]}"))
        servers += [sources.sentinel(name, group.addresses[name]) for name in group.sentinels]
    servers += [sources.postgres(name, stack.watch_url(name)) for name in stack.standbys]
    # Over the edge of a standby comes its copy of the data, which nobody calls.
    called = {
        one.proxy: f"proxy:{one.source if one.source in stack.standbys else one.destination}" for one in stack.edges
    }
    proxies = sources.proxies(stack.proxy_api, called)
    return [*pages, *servers, proxies, machine(psutil.Process())]
