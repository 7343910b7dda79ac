"""Locust's own loop of a user's tasks, for users with task sets, or in the closed model.

Which task comes next, and all that happens between two of them (`on_start` and `on_stop` of a task set, `interrupt`),
stays Locust's business. In the open model only the waiting is replaced: right before a task executes, its user takes
the next arrival of its class; wait times don't apply, except to a `wait()` that a task calls itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from locust.exception import InterruptTaskSet, RescheduleTaskImmediately, StopUser
from locust.user import User
from locust.user.task import LOCUST_STATE_STOPPING, DefaultTaskSet, TaskSet

from harness.load.pacer import Pool
from harness.load.recorder import Arrival, Recorder, Task
from harness.load.turn import END_OF_TASK, Turn, finish, what_failed

_KEY: Final = "_harness_loop"
"""What this module keeps on a user is kept under this name."""


class TaskLoop:
    """Hooks into the loop of the user classes in `pools` (open model), or of all users when `pools` is None (closed).

    `turn_of` gives a user's turn.
    """

    def __init__(
        self, recorder: Recorder, turn_of: Callable[[User], Turn], pools: Mapping[type[User], Pool] | None
    ) -> None:
        self._recorder = recorder
        self._turn_of = turn_of
        self._pools = pools
        self._tasks: dict[Any, Task] = {}

    def install(self) -> None:
        """Replace the methods of Locust's task sets by which they execute a task and, in the open model, wait.

        Locust has no event for either; these two run for every kind of task set.
        """
        for task_set in (TaskSet, DefaultTaskSet):
            task_set.execute_task = self._executing(task_set.execute_task)  # type: ignore[method-assign]  # see above
        if self._pools is not None:
            TaskSet.wait = self._waiting(TaskSet.wait)  # type: ignore[method-assign]  # see above

    def _executing(self, execute: Callable[[Any, Any], object]) -> Callable[[Any, Any], None]:
        def execute_task(task_set: Any, task: Any) -> None:
            user = task_set.user
            paced = self._pools is None or type(user) in self._pools
            if not paced or isinstance(task, type) or (member := self._member(user)).busy:
                execute(task_set, task)
                return
            member.busy = True
            try:
                self._perform(member, execute, task_set, task)
            finally:
                member.busy = False
                member.active = True

        return execute_task

    def _waiting(self, wait: Callable[[Any], None]) -> Callable[[Any], None]:
        def wait_or_not(task_set: Any) -> None:
            member = task_set.user.__dict__.get(_KEY)
            if member is None or member.busy or not member.active:
                # A task waits by itself; or a loop that executes nothing, which must not run hot.
                wait(task_set)
                return
            member.active = False
            if task_set.user._state == LOCUST_STATE_STOPPING:
                raise StopUser()

        return wait_or_not

    def _member(self, user: User) -> _Member:
        member: _Member | None = user.__dict__.get(_KEY)
        if member is None:
            pool = self._pools[type(user)] if self._pools is not None else None
            user.__dict__[_KEY] = member = _Member(self._turn_of(user), pool)
        return member

    def _perform(self, member: _Member, execute: Callable[[Any, Any], object], task_set: Any, task: Any) -> None:
        """Execute a task, for an arrival in the open model; raises only what Locust's loop goes by."""
        turn = member.turn
        arrival = drawn = None
        if member.pool is not None:
            arrival, member.held = member.held or member.pool.take(), None
            drawn, arrival.task = arrival.task, self._task(task_set.user, task)
        failure: Exception | None = None
        done: Exception | None = None
        turn.begin(arrival)
        try:
            execute(task_set, task)
        except END_OF_TASK as error:
            done = error
        except Exception as error:  # noqa: BLE001 - whatever a user's own code raises is a failed request
            failure = what_failed(task_set.user, self._task(task_set.user, task), error)
        requested = finish(turn, failure)
        if arrival is not None and drawn is not None:
            drawn.endpoint, arrival.task = arrival.task.endpoint, drawn
            if not requested:
                self._return(arrival, member, done)
        if done is not None:
            raise done

    def _return(self, arrival: Arrival, member: _Member, done: Exception | None) -> None:
        """What becomes of an arrival whose task made no request."""
        if isinstance(done, StopUser) and member.pool is not None:
            member.pool.offer(arrival)
        elif isinstance(done, InterruptTaskSet | RescheduleTaskImmediately):
            # Locust goes on to another task without a wait: that one is for the same arrival.
            member.held = arrival
            gevent.sleep(0)
        else:
            self._recorder.made_no_request(arrival)

    def _task(self, user: User, task: Any) -> Task:
        function = getattr(task, "__func__", task)
        found = self._tasks.get(function)
        if found is None:
            title = getattr(task, "__name__", repr(task))
            self._tasks[function] = found = Task(type(user).__name__, title, lambda _user: None)
        return found


class _Member:
    """A user in its loop: `busy` with a task, `active` when it has executed one since it last waited."""

    __slots__ = ("active", "busy", "held", "pool", "turn")

    def __init__(self, turn: Turn, pool: Pool | None) -> None:
        self.turn = turn
        self.pool = pool
        self.held: Arrival | None = None
        self.busy = False
        self.active = False
