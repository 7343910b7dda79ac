"""The virtual users of a load worker: a pool that serves planned arrivals, or a crowd in which each goes its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import gevent
from locust.user import User

from harness.clock import NS, now_ns
from harness.errors import LoadError
from harness.load.arrivals import schedule
from harness.load.crowd import Crowd, changes, order, share
from harness.load.locustfile import Locustfile
from harness.load.pacer import Pacer, Pool, ShuffledPool
from harness.load.session import Session
from harness.load.spec import WorkerSpec
from harness.load.stock import StockUsers
from harness.load.taskloop import TaskLoop
from harness.load.turn import Turn
from harness.load.user import OpenHttpUser

_START_TIMEOUT_S: Final = 60.0
_START_GAP_S: Final = 0.01
"""Between two users whose start may be a request: all at once, their logins would be a load that nobody planned."""
_REPLACE_AFTER_S: Final = 0.05
_REPLACE_FAILED_AFTER_S: Final = 1.0


class OpenPopulation:
    """The pool of users of the open model: all of them start before the arm does, then wait for arrivals.

    A user who ends meanwhile (a task set may say so) makes room for a new one.
    """

    def __init__(self, spec: WorkerSpec, session: Session, locustfile: Locustfile, turn_of: Callable[[User], Turn]):
        self._spec = spec
        self._session = session
        self._locustfile = locustfile
        self._pools: dict[str, Pool] = {}
        starts_alone = all(kind.on_start is User.on_start for kind in locustfile.user_classes)
        self._gap_s = 0.0 if starts_alone and not locustfile.looping else _START_GAP_S
        looping: dict[type[User], Pool] = {}
        for kind in locustfile.user_classes:
            if kind in locustfile.looping:
                looping[kind] = self._pools[kind.__name__] = ShuffledPool(session, turn_of, spec.load.seed)
            else:
                pool = self._pools[kind.__name__] = Pool(session, turn_of)
                kind.tasks = [pool.serve]
        if looping:
            TaskLoop(session.recorder, turn_of, looping).install()

    @property
    def free(self) -> int:
        """How many users wait for an arrival."""
        return sum(pool.free for pool in self._pools.values())

    def gather(self, runner: Any, go_on: Callable[[], bool]) -> int:
        """Start all users and wait until they are ready; returns their number.

        `go_on` is asked now and then. Raises `LoadError` when some of them cannot start.
        """
        events, failures = runner.environment.events, list[str]()

        def on_error(user_instance: Any, exception: BaseException, **_: Any) -> None:
            failures.append(f"{type(user_instance).__name__}.on_start raised {type(exception).__name__}: {exception}")

        events.user_error.add_listener(on_error)
        crowd = _start(runner, self._locustfile, self._spec, go_on)
        while crowd.size < self._spec.users and go_on():
            before = crowd.size
            crowd.resize(before + 1)
            if crowd.size == before:
                break
            gevent.sleep(self._gap_s)
        wanted = crowd.size
        events.spawning_complete.fire(user_count=wanted)
        deadline_ns = now_ns() + int(_START_TIMEOUT_S * NS)
        while self.free < wanted and go_on():
            if failures:
                raise LoadError(failures[0])
            if runner.user_count < wanted:
                raise LoadError(
                    f"only {runner.user_count} of {wanted} virtual users started; on_start ended the others"
                )
            if now_ns() > deadline_ns:
                raise LoadError(f"only {self.free} of {wanted} virtual users started in {_START_TIMEOUT_S:.0f} s")
            gevent.sleep(0.01)
        events.user_error.remove_listener(on_error)
        idle = [name for name, pool in self._pools.items() if not pool.free]
        if idle and go_on():
            raise LoadError(f"none of the {wanted} virtual users is a {idle[0]}", remedy="raise `load.pool`")
        self._replace_those_who_end(runner, [greenlet.args[0] for greenlet in runner.user_greenlets])
        return self.free

    def chores(self) -> Sequence[Callable[[], None]]:
        """What has to run while the arm does; the first ends when all load has been released."""
        spec = self._spec
        plan = schedule(spec.load, self._locustfile.weights, spec.worker, spec.workers)
        pacer = Pacer(self._session, plan, self._locustfile.tasks, self._pools)
        return (pacer.run, pacer.sweep)

    def _replace_those_who_end(self, runner: Any, users: Sequence[User]) -> None:
        for user in users:
            user.greenlet.link(partial(self._replace, runner, type(user)))

    def _replace(self, runner: Any, kind: type[User], ended: gevent.Greenlet) -> None:
        def spawn() -> None:
            if not self._session.recorder.closed:
                self._replace_those_who_end(runner, runner.spawn_users({kind.__name__: 1}))

        gevent.spawn_later(_REPLACE_AFTER_S if ended.successful() else _REPLACE_FAILED_AFTER_S, spawn)


class ClosedPopulation:
    """The users of the closed model, who come and go as the plan says, and send what their own loops want."""

    free = 0

    def __init__(self, spec: WorkerSpec, session: Session, locustfile: Locustfile, turn_of: Callable[[User], Turn]):
        self._spec = spec
        self._session = session
        self._locustfile = locustfile
        self._crowd: Crowd | None = None
        TaskLoop(session.recorder, turn_of, None).install()

    def gather(self, runner: Any, go_on: Callable[[], bool]) -> int:
        """Start the test, but no user yet; returns how many there will be at most."""
        self._crowd = _start(runner, self._locustfile, self._spec, go_on)
        return self._spec.users

    def chores(self) -> Sequence[Callable[[], None]]:
        """What has to run while the arm does; the first ends when the number of users does not change any more."""
        crowd, spec, session = self._crowd, self._spec, self._session
        if crowd is None:
            raise RuntimeError("users must be gathered before they are driven")
        plan = ((at_s, share(users, spec.worker, spec.workers)) for at_s, users in changes(spec.load.segments))
        return (lambda: crowd.run(session, plan),)


Population = OpenPopulation | ClosedPopulation


def _start(runner: Any, locustfile: Locustfile, spec: WorkerSpec, go_on: Callable[[], bool]) -> Crowd:
    """Begin Locust's test run, with its events, but without users yet."""
    runner.start(0, spawn_rate=1)
    while not runner.spawning_greenlet.ready() and go_on():
        gevent.sleep(0.01)
    # In the open model there are arrivals for every class on each worker.
    opened = spec.load.model == "open"
    return Crowd(runner, order(locustfile.user_classes, spec.worker, spec.workers, each_class=opened))


def turns(session: Session, user_classes: Sequence[type[User]], request_event: Any) -> Callable[[User], Turn]:
    """How to find the turn of a user."""
    if all(issubclass(kind, OpenHttpUser) for kind in user_classes):
        return _own_turn
    stock = StockUsers(session, request_event)

    def turn_of(user: User) -> Turn:
        return user.client if isinstance(user, OpenHttpUser) else stock.turn(user)

    return turn_of


def _own_turn(user: User) -> Turn:
    turn: Turn = user.client  # type: ignore[attr-defined]  # an OpenHttpUser, whose client this is
    return turn
