"""A load worker: `python -m harness.load.worker SPEC.json` drives one share of one arm's load, and records it.

It is a process of its own because Locust patches the interpreter for gevent, and because everything else that took
CPU here would show up as latency. SPEC.json is a `WorkerSpec`. One JSON object per line:

    stdout  {"event": "ready", "users": N, "endpoints": [...]}     all virtual users have started; these are the tasks
            {"event": "progress", ...}                             the fields of `Progress`, every 0.5 s after `go`
            {"event": "done", "rows": n, "arrivals": n, "notes": [...]}      the spool is complete
            {"event": "error", "message": "..."}                   nothing (more) will come; exit code 2
    stdin   {"go": t0}         start: time 0 of the arm is the monotonic instant t0 (ns)
            {"storm": {...}, "name": "..."}    the fields of a `RetryStorm`: how clients retry in a stretch of the arm
            {"calm": "..."}                    forget the storm of that name
            {"stop": true}     finish now; whatever is in flight becomes `aborted` (end of file does the same)
"""

from __future__ import annotations

import locust  # first of all: it patches the standard library  # isort: skip

import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from gevent.event import AsyncResult

from harness.clock import NS
from harness.errors import HarnessError, LoadError
from harness.load.acknowledged import Acknowledgements
from harness.load.fasthttp import send_each_request_once
from harness.load.gauges import CpuMeter
from harness.load.link import Link
from harness.load.locustfile import Locustfile, chosen, describe, load_user_classes
from harness.load.options import parse_options
from harness.load.population import ClosedPopulation, OpenPopulation, Population, turns
from harness.load.recorder import PROGRESS_INTERVAL_S, Recorder
from harness.load.session import LoadEnvironment, RequestHook, Session
from harness.load.spec import Progress, WorkerSpec
from harness.load.watch import watches
from harness.record.spool import RowWriter

_FLUSH_INTERVAL_S: Final = 0.25
_FAREWELL_S: Final = 2.0
_EXIT_ERROR: Final = 2


class Worker:
    """One worker in one arm, from its locustfile to the last row."""

    def __init__(self, spec: WorkerSpec, link: Link) -> None:
        self._spec = spec
        self._link = link
        self._failure: AsyncResult = AsyncResult()
        self._writer = RowWriter(Path(spec.spool))
        watched = watches(spec.abort_when, spec.load.timeout_s, PROGRESS_INTERVAL_S)
        self._recorder = Recorder(self._writer, watched)
        noted = spec.acknowledges and Acknowledgements(*spec.acknowledges, self._recorder, Path(spec.spool))
        self._session = Session(spec.host, spec.load, spec.worker, self._recorder, self._fail, link.storms, noted)
        self._cpu = CpuMeter()
        self._population: Population | None = None

    def run(self) -> None:
        """Do the whole arm. Raises `LoadError` when it cannot."""
        events = locust.events
        events.request = RequestHook()
        events.test_stopping.add_listener(self._on_stop)  # type: ignore[no-untyped-call]
        send_each_request_once()
        environment = self._environment(events)
        locustfile = describe(environment.user_classes, Path(self._spec.load.locustfile), self._spec.load.users)
        population = self._population = self._make_population(locustfile, events.request)
        runner = environment.create_local_runner()
        events.init.fire(environment=environment, runner=runner, web_ui=None)  # type: ignore[no-untyped-call]
        try:
            users = population.gather(runner, self._may_go_on)
            releasing = population.chores()  # before `ready`: a long trace takes a while to read
            self._link.say("ready", users=users, endpoints=[task.title for task in locustfile.tasks])
            if self._wait_for_go():
                self._drive(releasing)
        finally:
            self._recorder.close(self._arm_end_ns())
            _dismiss(runner)
        self._check()

    def _environment(self, events: Any) -> LoadEnvironment:
        load = self._spec.load
        file = Path(load.locustfile)
        user_classes = load_user_classes(file)
        options = parse_options(load.options, self._spec.host, load.users)
        environment = LoadEnvironment(
            self._session,
            user_classes=list(chosen(user_classes, options.user_classes, file)),
            events=events,
            host=self._spec.host,
            locustfile=file.name,
            parsed_options=options,
        )
        # Locust does this when it starts users; here their tasks are looked at before.
        with_tasks = [kind for kind in environment.user_classes if kind.tasks]
        environment._filter_tasks_by_tags()
        emptied = [kind for kind in with_tasks if not kind.tasks]
        if len(emptied) < len(with_tasks):
            environment.user_classes = [kind for kind in environment.user_classes if kind not in emptied]
        return environment

    def _make_population(self, locustfile: Locustfile, request_event: RequestHook) -> Population:
        # Locust and locustfiles draw from here: the same seed gives both arms the same draws, as far as users agree.
        random.seed(f"{self._spec.load.seed}:{self._spec.worker}:users")
        turn_of = turns(self._session, locustfile.user_classes, request_event)
        kind = OpenPopulation if self._spec.load.model == "open" else ClosedPopulation
        return kind(self._spec, self._session, locustfile, turn_of)

    def _may_go_on(self) -> bool:
        self._raise_failure()
        return not self._link.stop.is_set()

    def _on_stop(self, **_: Any) -> None:
        if not self._recorder.closed:
            self._fail("the locustfile ended the test before its time (by runner.quit, runner.stop or StopTest)")

    def _wait_for_go(self) -> bool:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)
        gevent.wait([self._link.go, self._link.stop, self._failure], count=1)
        self._raise_failure()
        if self._link.stop.is_set():
            return False
        self._session.t0_ns = self._link.go.get()
        return True

    def _drive(self, releasing: Sequence[Callable[[], None]]) -> None:
        """Run the arm; the first of `releasing` ends when all load has been released."""
        chores = [gevent.spawn(chore) for chore in (*releasing, self._flush, self._report)]
        for chore in chores:
            chore.link_exception(lambda dead: self._fail(f"{type(dead.exception).__name__}: {dead.exception}"))
        try:
            stop, failure = self._link.stop, self._failure
            while (left_s := self._left_s()) > 0 and not stop.is_set() and not failure.ready():
                gevent.wait([stop, failure], timeout=left_s, count=1)
            if left_s <= 0:
                # Arrivals due in the very last moment belong to the arm even when they are released a little late.
                gevent.wait([chores[0], failure], count=1)
        finally:
            gevent.killall(chores)
            self._recorder.close(self._arm_end_ns())
        self._raise_failure()
        self._say_progress()

    def _left_s(self) -> float:
        return self._spec.load.duration_s - self._session.now_ns() / NS

    def _arm_end_ns(self) -> int:
        return min(self._session.now_ns(), int(self._spec.load.duration_s * NS))

    def _flush(self) -> None:
        while True:
            gevent.sleep(_FLUSH_INTERVAL_S)
            self._recorder.flush()

    def _report(self) -> None:
        gevent.sleep(max(0.0, -self._session.now_ns() / NS))
        self._cpu = CpuMeter()
        while True:
            gevent.sleep(PROGRESS_INTERVAL_S)
            self._say_progress()

    def _say_progress(self) -> None:
        recorder = self._recorder
        p95_ms, lag_p99_ms = recorder.read_gauges()
        retries, now_ns = self._session.retries, self._session.now_ns()
        progress = Progress(
            t_ns=now_ns,
            arrivals=recorder.arrivals,
            finished=recorder.finished,
            failed=recorder.failed,
            in_flight=recorder.in_flight,
            p95_ms=p95_ms and round(p95_ms, 3),
            cpu_percent=round(self._cpu.read_percent(), 1),
            lag_p99_ms=round(lag_p99_ms, 3),
            users_free=self._population.free if self._population is not None else 0,
            dropped=recorder.dropped,
            late=recorder.late,
            watched=recorder.read_watches(),
            storming=int(retries.storming(now_ns)),
            storm_failed=retries.storm_failed,
            storm_retries=retries.storm_retries,
        )
        self._link.say("progress", **asdict(progress))

    def _fail(self, message: str) -> None:
        if not self._failure.ready():
            self._failure.set(message)

    def _raise_failure(self) -> None:
        if self._failure.ready():
            raise LoadError(self._failure.get())

    def _check(self) -> None:
        if self._recorder.first_rows != self._recorder.arrivals:
            raise LoadError(
                f"{self._recorder.arrivals} arrivals were released, but {self._recorder.first_rows} recorded"
            )
        recorder = self._recorder
        notes = [*self._session.notes]
        if recorder.idle:
            notes.append(f"{recorder.idle} arrivals ran a task that made no request; they are not in the record")
        self._link.say("done", rows=recorder.rows, arrivals=recorder.arrivals, notes=notes)


def main() -> NoReturn:
    """Run the worker that the file named by the only argument describes, and end the process."""
    # An interrupt from the keyboard reaches the whole process group; the conductor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Link()
    try:
        _raise_file_limit()
        spec = WorkerSpec.from_json(Path(sys.argv[1]).read_text())
        gevent.spawn(link.listen)
        Worker(spec, link).run()
    except HarnessError as error:
        link.say("error", message=str(error))
        _exit(_EXIT_ERROR)
    except Exception as error:  # noqa: BLE001 - the conductor must hear of whatever ends this process
        link.say("error", message=f"{type(error).__name__}: {error}")
        _exit(_EXIT_ERROR)
    _exit(0)


def _dismiss(runner: Any) -> None:
    # Users first and at once: a user that went on for a moment would send requests that nobody records.
    runner.user_greenlets.kill(block=False)
    events = runner.environment.events
    with gevent.Timeout(_FAREWELL_S, exception=False):
        events.quitting.fire(environment=runner.environment, reverse=True)
        runner.quit()
        events.quit.fire(exit_code=0)


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _exit(code: int) -> NoReturn:
    # Threads of the hub's pool and a user's stray greenlets must not keep the process alive.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
