"""Releases arrivals at their instants to the virtual users, whatever the system under test does (open model)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import gevent
from gevent.event import AsyncResult
from gevent.hub import get_hub

from harness.clock import NS
from harness.load.recorder import Arrival, Task
from harness.load.session import Session
from harness.load.turn import Turn, perform
from harness.load.waiting import wait_in

_SWEEP_INTERVAL_S: Final = 0.02
_AHEAD: Final = 100
"""Arrivals that are worked out at a time: in one go that costs a fraction of what each costs by itself."""


class Pool:
    """The virtual users of one Locust user class, and the arrivals that wait for one of them.

    Users are taken in turn, longest idle first, so that all connections are in use and a balancer in between sees
    as many clients as there are. An arrival that has waited for longer than the patience is dropped.
    """

    def __init__(self, session: Session, turn_of: Callable[[Any], Turn]) -> None:
        self._session = session
        self._turn_of = turn_of
        self._free: deque[Any] = deque()
        self._line_up: Callable[[Any], None] = self._free.append
        self._waiting: deque[Arrival] = deque()
        self._hub = get_hub()
        self._wait = wait_in(self._hub)

    @property
    def free(self) -> int:
        """How many users wait for an arrival."""
        return len(self._free)

    def serve(self, user: Any) -> None:
        """What a user of this pool does all its life, as its only Locust task."""
        turn, recorder = self._turn_of(user), self._session.recorder
        while True:
            arrival = self.take()
            if not perform(user, turn, arrival):
                recorder.made_no_request(arrival)

    def take(self) -> Arrival:
        """Wait for an arrival; called by the user who will serve it."""
        if self._waiting:
            self.sweep()
            if self._waiting:
                return self._waiting.popleft()
        me = gevent.getcurrent()
        self._line_up(me)
        try:
            arrival: Arrival = self._wait()
        except BaseException:
            if me in self._free:
                self._free.remove(me)
            raise
        return arrival

    def release(self, arrival: Arrival) -> None:
        """Give `arrival` to a free user, who acts on it at once, or let it wait for one; only for code in the hub."""
        if self._free:
            self._free.popleft().switch(arrival)
        else:
            arrival.prompt = False
            self._waiting.append(arrival)

    def offer(self, arrival: Arrival) -> None:
        """Give `arrival` to a free user soon, or let it wait for one."""
        self._hub.loop.run_callback(self.release, arrival)

    def sweep(self) -> None:
        """Drop the arrivals that have run out of patience."""
        waiting = self._waiting
        now_ns = self._session.now_ns()
        while waiting and now_ns - waiting[0].intended_ns > self._session.patience_ns:
            self._session.recorder.gave_up(waiting.popleft(), now_ns)


class ShuffledPool(Pool):
    """A pool whose users are taken at random.

    For users who go through tasks in an order of their own: taken in turn, all of them would come to the same task at
    the same time, and the load would be a wave of one task after the other.
    """

    def __init__(self, session: Session, turn_of: Callable[[Any], Turn], seed: int) -> None:
        super().__init__(session, turn_of)
        self._draw = random.Random(f"{seed}:users")
        self._line_up = self._push_in

    def _push_in(self, user: Any) -> None:
        self._free.insert(self._draw.randint(0, len(self._free)), user)


class Pacer:
    """Releases the arrivals of `plan` (see `arrivals.schedule`) into the pool of their task's user class."""

    def __init__(
        self,
        session: Session,
        plan: Iterator[tuple[float, int]],
        tasks: Sequence[Task],
        pools: Mapping[str, Pool],
    ) -> None:
        self._session = session
        self._plan = plan
        self._targets = [(task, pools[task.user_class].release) for task in tasks]
        self._pools = tuple(pools.values())
        self._loop = get_hub().loop
        self._timer: Any = None
        self._finished = AsyncResult()

    def run(self) -> None:
        """Release every arrival when it is due; everything that is due at a wake-up goes out at once."""
        # By a timer's callback and not by a loop in this greenlet: from the hub, users are switched to directly, one
        # after the other, and each comes back there when it waits for its response.
        self._wake(self._release())
        try:
            self._finished.get()
        finally:
            self._timer.close()

    def sweep(self) -> None:
        """Drop, for ever, arrivals that found no free user in time."""
        while True:
            gevent.sleep(_SWEEP_INTERVAL_S)
            for pool in self._pools:
                pool.sweep()

    def _wake(self, waits_ns: Iterator[int]) -> None:
        if self._timer is not None:
            self._timer.close()
        try:
            wait_ns = next(waits_ns)
        except StopIteration:
            self._finished.set()
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._finished.set_exception(error)
        else:
            self._timer = self._loop.timer(wait_ns / NS)
            self._timer.start(self._wake, waits_ns, update=True)

    def _release(self) -> Iterator[int]:
        """Release what is due, and yield how long to wait until there is more."""
        now_ns, released = self._session.now_ns, self._session.recorder.released
        yield 0  # from here on in the hub
        reached_ns = now_ns()
        targets = self._targets
        while due := [(int(instant_s * NS), targets[index]) for instant_s, index in islice(self._plan, _AHEAD)]:
            for intended_ns, (task, release) in due:
                while intended_ns > reached_ns:
                    reached_ns = now_ns()
                    if intended_ns > reached_ns:
                        yield intended_ns - reached_ns
                arrival = Arrival(intended_ns, task)
                released(arrival)
                release(arrival)
