"""A load worker: `python -m harness.load.worker SPEC.json` drives one share of one arm's load, and records it.

It is a process of its own because Locust patches the interpreter for gevent, and because everything else that took
CPU here would show up as latency. SPEC.json is a `WorkerSpec`. One JSON object per line:

    stdout  {"event": "ready", "users": N, "endpoints": [...]}     all virtual users have started; these are the tasks
            {"event": "progress", ...}                             the fields of `Progress`, every 0.5 s after `go`
            {"event": "done", "rows": n, "arrivals": n}            the spool is complete
            {"event": "error", "message": "..."}                   nothing (more) will come; exit code 2
    stdin   {"go": t0}         start: time 0 of the arm is the monotonic instant t0 (ns)
            {"stop": true}     finish now; whatever is in flight becomes `aborted` (end of file does the same)
"""

from __future__ import annotations

import locust  # first of all: it patches the standard library  # isort: skip

import gc
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from gevent.event import AsyncResult

from harness.clock import NS, now_ns
from harness.errors import HarnessError, LoadError
from harness.load.gauges import CpuMeter
from harness.load.link import Link
from harness.load.locustfile import Locustfile, load_locustfile
from harness.load.pacer import Pacer, Pool, schedule
from harness.load.recorder import PROGRESS_INTERVAL_S, Recorder
from harness.load.session import LoadEnvironment, RequestHook, Session
from harness.load.spec import Progress, WorkerSpec
from harness.load.stock import StockUsers
from harness.load.user import OpenHttpUser
from harness.record.spool import RowWriter

_FLUSH_INTERVAL_S: Final = 0.25
_START_TIMEOUT_S: Final = 60.0
_FAREWELL_S: Final = 2.0
_EXIT_ERROR: Final = 2


class Worker:
    """One worker in one arm, from its locustfile to the last row."""

    def __init__(self, spec: WorkerSpec, link: Link) -> None:
        self._spec = spec
        self._link = link
        self._failure: AsyncResult = AsyncResult()
        self._writer = RowWriter(Path(spec.spool))
        self._recorder = Recorder(self._writer)
        self._session = Session(spec.host, spec.load, spec.worker, self._recorder, self._fail)
        self._cpu = CpuMeter()
        self._pools: dict[str, Pool] = {}

    def run(self) -> None:
        """Do the whole arm. Raises `LoadError` when it cannot."""
        if self._spec.load.model == "closed":
            raise LoadError("load workers can't drive the closed model yet", remedy="use the open model: give a `rate`")
        events = locust.events
        events.request = RequestHook()  # type: ignore[no-untyped-call]
        locustfile = load_locustfile(Path(self._spec.load.locustfile))
        environment = LoadEnvironment(
            self._session,
            user_classes=list(locustfile.user_classes),
            events=events,
            host=self._spec.host,
            locustfile=Path(self._spec.load.locustfile).name,
        )
        self._make_pools(locustfile, environment)
        runner = environment.create_local_runner()
        events.init.fire(environment=environment, runner=runner, web_ui=None)  # type: ignore[no-untyped-call]
        try:
            self._spawn_users(runner)
            self._link.say("ready", users=self._users_free, endpoints=[task.title for task in locustfile.tasks])
            if self._wait_for_go():
                self._drive(locustfile)
        finally:
            self._recorder.close(self._arm_end_ns())
            _dismiss(runner)
        self._check()

    def _make_pools(self, locustfile: Locustfile, environment: LoadEnvironment) -> None:
        stock = None
        for user_class in locustfile.user_classes:
            if issubclass(user_class, OpenHttpUser):
                pool = Pool(self._session, user_class.handler)
            else:
                stock = stock or StockUsers(self._session, environment.events.request)
                pool = Pool(self._session, stock.handler)
            self._pools[user_class.__name__] = pool
            user_class.tasks = [pool.serve]

    def _spawn_users(self, runner: Any) -> None:
        wanted = self._spec.users
        runner.environment.events.user_error.add_listener(self._on_start_error)
        runner.start(wanted, spawn_rate=wanted)
        deadline_ns = now_ns() + int(_START_TIMEOUT_S * NS)
        while self._users_free < wanted:
            self._raise_failure()
            if runner.spawning_greenlet.ready() and runner.user_count < wanted:
                raise LoadError(
                    f"only {runner.user_count} of {wanted} virtual users started; on_start ended the others"
                )
            if self._link.stop.is_set():
                return
            if now_ns() > deadline_ns:
                raise LoadError(
                    f"only {self._users_free} of {wanted} virtual users started in {_START_TIMEOUT_S:.0f} s"
                )
            gevent.sleep(0.01)
        runner.environment.events.user_error.remove_listener(self._on_start_error)
        idle = [name for name, pool in self._pools.items() if not pool.free]
        if idle:
            raise LoadError(f"none of the {wanted} virtual users is a {idle[0]}", remedy="raise `load.pool`")

    def _on_start_error(self, user_instance: Any, exception: BaseException, **_: Any) -> None:
        self._fail(f"{type(user_instance).__name__}.on_start raised {type(exception).__name__}: {exception}")

    def _wait_for_go(self) -> bool:
        gc.collect()
        gc.freeze()
        gevent.wait([self._link.go, self._link.stop, self._failure], count=1)
        self._raise_failure()
        if self._link.stop.is_set():
            return False
        self._session.t0_ns = self._link.go.get()
        return True

    def _drive(self, locustfile: Locustfile) -> None:
        spec = self._spec
        plan = schedule(spec.load, locustfile.weights, spec.worker, spec.workers)
        pacer = Pacer(self._session, plan, locustfile.tasks, self._pools)
        chores = [gevent.spawn(chore) for chore in (pacer.run, pacer.sweep, self._flush, self._report)]
        for chore in chores:
            chore.link_exception(lambda dead: self._fail(f"{type(dead.exception).__name__}: {dead.exception}"))
        try:
            stop, failure = self._link.stop, self._failure
            while (left_s := self._left_s()) > 0 and not stop.is_set() and not failure.ready():
                gevent.wait([stop, failure], timeout=left_s, count=1)
            if left_s <= 0:
                # Arrivals due in the very last moment belong to the arm even when their pacer is a little late.
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
        progress = Progress(
            t_ns=self._session.now_ns(),
            arrivals=recorder.arrivals,
            finished=recorder.finished,
            failed=recorder.failed,
            in_flight=recorder.in_flight,
            p95_ms=p95_ms and round(p95_ms, 3),
            cpu_percent=round(self._cpu.read_percent(), 1),
            lag_p99_ms=round(lag_p99_ms, 3),
            users_free=self._users_free,
            dropped=recorder.dropped,
            late=recorder.late,
        )
        self._link.say("progress", **asdict(progress))

    @property
    def _users_free(self) -> int:
        return sum(pool.free for pool in self._pools.values())

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
        self._link.say("done", rows=self._recorder.rows, arrivals=self._recorder.arrivals)


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
    with gevent.Timeout(_FAREWELL_S, exception=False):
        runner.quit()


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _exit(code: int) -> NoReturn:
    # Threads of the hub's pool and a user's stray greenlets must not keep the process alive.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
