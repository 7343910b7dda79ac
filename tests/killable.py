"""A conductor that can be killed at a chosen moment of its faults, again and again: `python killable.py`.

Reads one `Round` a line as JSON, carries it out in a forked child (the imports are paid for once) and prints one line
of JSON when the child has ended: what ended it, and the last step that it had entered. The child does what a run does,
with ledger, guard and timeline, on a stack of which only one Redis is its own. The proxy, what is behind it, and a
spare Redis belong to whoever started this program: they outlive the run, with whatever a fault has done to them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.clock import now_ns
from harness.faults import timeline as timelines
from harness.faults.base import Edge, Undo
from harness.faults.catalogue import catalogue
from harness.faults.guard import Guard
from harness.faults.timeline import FaultTimeline
from harness.faults.undo import start_process
from harness.ledger import Ledger, ProcessMark, mark_of
from harness.paths import RunFolder
from harness.plan import PlannedFault
from harness.probes import probe, wait_for
from harness.processes import Command, Processes
from harness.stack import valkey
from harness.stack.account import Account

LATENCY_S = 0.1
STEPS = ("wait", "record", "inject", "confirm", "hold", "revert", "note", "clear")
"""In the order in which a fault goes through them; `record` and `note` are its entries in the ledger."""


@dataclass(frozen=True, slots=True)
class Round:
    """One life of a conductor: killed `after_s` after the fault has entered the step, its guard before it if asked."""

    folder: str
    api: str
    proxy: str
    edge: str
    upstream: str
    spare_port: int
    spare_pid: int
    redis_port: int
    fault: str
    step: str
    after_s: float
    guard_too: bool


class Stack:
    """What the faults ask of a stack: an edge and a spare that are somebody else's, a Redis of the run's own."""

    def __init__(self, one: Round, processes: Processes, redis: Command) -> None:
        self.proxy_api = one.api
        self._edge = Edge("app", "redis", one.proxy, one.edge, "redis")
        self._upstream = one.upstream
        self._redis = redis
        self._ports = {"redis": one.redis_port, "spare": one.spare_port}
        self._spare = mark_of(one.spare_pid, "spare", signal.SIGTERM)
        self._processes = processes

    def edge(self, _name: str) -> Edge:
        return self._edge

    def upstream(self, _edge: str) -> str:
        return self._upstream

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self._ports[name]}"

    def sentinels(self, _name: str) -> tuple[str, ...]:
        return ()

    def start_undo(self, name: str, *, afresh: bool = False) -> Undo:
        return start_process(self._redis, "redis", self.address(name), afresh=afresh)

    def kill(self, name: str) -> None:
        self._processes.kill(name)

    def mark(self, name: str) -> ProcessMark:
        return self._spare if name == "spare" else self._processes.mark(name)

    def may_die(self, name: str) -> None:
        self._processes.excuse(name)


class Killer:
    """Ends this process when the fault enters the step of the round; tells each step it enters."""

    def __init__(self, one: Round, guard_pid: int, tell: int) -> None:
        self._round = one
        self._guard_pid = guard_pid
        self._tell = tell
        self._armed = False

    def enter(self, fault: str, step: str) -> None:
        if fault != self._round.fault:
            return
        os.write(self._tell, f"{step}\n".encode())
        if step == self._round.step and not self._armed:
            self._armed = True
            threading.Thread(target=self._kill, daemon=True).start()

    def around(self, call: Callable[..., Any], step: str, name: Callable[..., str], after: str = "") -> Any:
        def traced(*arguments: Any, **options: Any) -> Any:
            fault = name(*arguments, **options)
            self.enter(fault, step)
            done = call(*arguments, **options)
            if after:
                self.enter(fault, after)
            return done

        return traced

    def _kill(self) -> None:
        time.sleep(self._round.after_s)
        if self._round.guard_too:
            os.kill(self._guard_pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def live(one: Round, tell: int) -> None:
    folder = RunFolder(Path(one.folder))
    folder.logs.mkdir(parents=True)
    ledger = Ledger(folder.ledger)
    ledger.run(folder.root.name, mark_of(os.getpid(), "conductor", signal.SIGTERM))
    guard = Guard(ledger, folder.logs / "guard.log")
    processes = Processes(folder.root.name, ledger)
    work = folder.root / "work"
    ledger.folder(work)
    work.mkdir()
    redis = valkey.prepare("redis", one.redis_port, work, folder.logs, Account("", os.getuid(), os.getgid()))
    processes.spawn(redis)
    assert wait_for(lambda: probe("redis", f"127.0.0.1:{one.redis_port}").ok, timeout_s=20)

    killer = Killer(one, guard._process.pid, tell)
    for kind in ("latency", "redis-down", "redis-pause"):
        made: Any = catalogue()[kind].make
        of = lambda self: self.planned.id  # noqa: E731
        made.inject = killer.around(made.inject, "inject", of)
        made.is_active = killer.around(made.is_active, "confirm", of)
        made.is_clear = killer.around(made.is_clear, "clear", of)
    by_mark: Any = lambda mark, *_, **__: mark.id.partition(":")[2]  # noqa: E731
    timelines.revert = killer.around(timelines.revert, "revert", by_mark)  # type: ignore[assignment]
    ledger.undo = killer.around(ledger.undo, "record", by_mark, after="wait")  # type: ignore[method-assign]
    by_id: Any = lambda undo_id, *_: undo_id.partition(":")[2]  # noqa: E731
    ledger.reverted = killer.around(ledger.reverted, "note", by_id)  # type: ignore[method-assign]

    def on_event(kind: str, fault: str, **_: Any) -> None:
        if kind == "fault.active":
            killer.enter(fault, "hold")

    faults = FaultTimeline(
        [
            _planned("slow", "latency", "redis", edge="app->redis", latency=LATENCY_S),
            _planned("down", "redis-down", "redis"),
            _planned("still", "redis-pause", "spare"),
        ],
        arm="fault-1",
        stack=Stack(one, processes, redis),  # type: ignore[arg-type]
        processes=processes,
        ledger=ledger,
        on_event=on_event,
    )
    faults.start(now_ns())
    faults.finish()
    assert not faults.errors, faults.errors
    processes.stop_all()
    ledger.close()
    guard.dismiss()


def _planned(name: str, kind: str, component: str, *, edge: str = "", **params: Any) -> PlannedFault:
    usual = {key: param.default for key, param in catalogue()[kind].params.items()}
    return PlannedFault(name, kind, 0.4, 0.5, usual | params, component, edge)


def serve() -> None:
    for line in sys.stdin:
        one = Round(**json.loads(line))
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            try:
                live(one, write_end)
            except Exception:  # noqa: BLE001  the child ends here, whatever it was
                traceback.print_exc()
            finally:
                os._exit(1)  # it was to be killed
        os.close(write_end)
        with os.fdopen(read_end) as told:
            steps = told.read().split()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = {"killed": killed, "code": os.waitstatus_to_exitcode(status), "last": steps[-1] if steps else ""}
        print(json.dumps(answer), flush=True)


def to_json(one: Round) -> str:
    return json.dumps(asdict(one))


if __name__ == "__main__":
    serve()
