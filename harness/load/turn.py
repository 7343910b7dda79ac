"""How a virtual user carries out an arrival: it runs a task, whose first request is the arrival.

Each further request of the task is an arrival of its own, whose intended start is when the task wanted it; so is
every request of a user who has no arrival in hand: in the closed model, or in the `on_start` of a user who comes
later. What is sent before the arm's start is not recorded.
"""

from __future__ import annotations

from typing import Final, Protocol

from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser
from locust.user import User

from harness.errors import LoadError
from harness.load.recorder import Arrival, Task
from harness.load.session import Session

END_OF_TASK: Final = (StopUser, InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately)
"""What a task may raise to say that it is done."""


class Turn(Protocol):
    """One user's requests, from one task to the next."""

    def begin(self, arrival: Arrival | None) -> None:
        """A task starts; `arrival` is what its first request will be, None in the closed model."""

    def finish(self, failure: Exception | None) -> bool:
        """The task is over, having raised `failure` or not; returns whether the arrival it began with got its row.

        An exception counts against the last request of the task: what came back was not what it expected. One that
        is raised before the first request is the failure of the arrival itself.
        """


def perform(user: User, turn: Turn, arrival: Arrival) -> bool:
    """Have `user` carry out `arrival` by its task; returns what `Turn.finish` does."""
    turn.begin(arrival)
    failure = None
    try:
        arrival.task.run(user)
    except END_OF_TASK:
        pass
    except Exception as error:  # noqa: BLE001 - whatever a user's own code raises is a failed request
        failure = what_failed(user, arrival.task, error)
    return finish(turn, failure)


def what_failed(user: User, task: Task, error: Exception) -> Exception | None:
    """Tell of what a task raised; returns it when it means that a request has failed, None when it ends the load."""
    if isinstance(error, LoadError | StopTest):
        ended = str(error) if isinstance(error, LoadError) else f"the locustfile ended the test: {error}"
        user.environment.session.fail(ended)
        return None
    task.complain(error)
    user.environment.events.user_error.fire(user_instance=user, exception=error, tb=error.__traceback__)
    return error


def finish(turn: Turn, failure: Exception | None) -> bool:
    """`turn.finish`, in which a listener of the request event may say that the task is done: it is anyway."""
    try:
        return turn.finish(failure)
    except END_OF_TASK:
        return True


def further_arrival(session: Session, task: Task, wanted_ns: int | None = None) -> Arrival | None:
    """An arrival that nobody planned, wanted now unless said otherwise; None before and after the arm.

    It starts when it is wanted: its `start_ns` is set.
    """
    now_ns = session.now_ns()
    if not session.t0_ns or now_ns < 0 or session.recorder.closed:
        return None
    arrival = Arrival(now_ns if wanted_ns is None else max(0, wanted_ns), task)
    arrival.start_ns = arrival.intended_ns
    arrival.prompt = False
    session.recorder.released(arrival)
    return arrival
