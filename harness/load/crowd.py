"""The closed model: as many users as the plan says, instant by instant, each in its own loop with its own waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import gevent

from harness.clock import NS
from harness.errors import LoadError
from harness.shapes import Segment

if TYPE_CHECKING:  # importing locust patches the interpreter, and the pure functions here are for everybody
    from locust.user import User

    from harness.load.session import Session


def changes(segments: Sequence[Segment]) -> Iterator[tuple[float, int]]:
    """The (instant in s, number of users from then on) of every change of the rounded number, ascending."""
    users = -1
    for segment in segments:
        for at_s, wanted in chain(((segment.start_s, round(segment.rate_start)),), _steps(segment)):
            if wanted != users:
                users = wanted
                yield at_s, users


def share(users: int, worker: int, workers: int) -> int:
    """The part of `users` that is `worker`'s, of `workers` that count from 0."""
    return (users + workers - 1 - worker) // workers


def order(user_classes: Sequence[type[User]], worker: int, workers: int, *, each_class: bool) -> Iterator[type[User]]:
    """The classes of a worker's first, second, ... user: fixed numbers of users first, then by weight.

    A fixed number is that of all workers together. With `each_class`, none of these classes is without a user here.
    """
    fixed = [kind for kind in user_classes for _ in range(kind.fixed_count)]
    mine = fixed[worker::workers]
    yield from mine
    yield from dict.fromkeys(kind for kind in fixed if each_class and kind not in mine)
    weights = {kind: float(kind.weight) for kind in user_classes if not kind.fixed_count}
    counts = dict.fromkeys(weights, 0)
    while weights:
        kind = min(weights, key=lambda kind: (counts[kind] + 1) / weights[kind])
        counts[kind] += 1
        yield kind


class Crowd:
    """Adds and removes a worker's users; those who are removed finish their task first.

    `kinds` are the classes of the users to come (see `order`). A user who ends by itself (`StopUser`, or an error in
    `on_start`) is not replaced, as in Locust.
    """

    def __init__(self, runner: Any, kinds: Iterator[type[User]]) -> None:
        self._runner = runner
        self._kinds = kinds
        self._removed: list[type[User]] = []
        self._users: list[User] = []

    @property
    def size(self) -> int:
        """How many users there are, by what was added and removed."""
        return len(self._users)

    def run(self, session: Session, plan: Iterator[tuple[float, int]]) -> None:
        """Follow `plan` (see `changes`)."""
        for at_s, users in plan:
            left_s = at_s - session.now_ns() / NS
            if left_s > 0:
                gevent.sleep(left_s)
            self.resize(users)

    def resize(self, users: int) -> None:
        """Have `users` users, or all that there can be with fixed numbers of each class.

        Raises `LoadError` when one cannot be made.
        """
        while len(self._users) < users:
            kind = self._removed.pop() if self._removed else next(self._kinds, None)
            if kind is None:
                return
            try:
                self._users += self._runner.spawn_users({kind.__name__: 1})
            except Exception as error:
                raise LoadError(f"{kind.__name__} could not be made: {type(error).__name__}: {error}") from error
        while len(self._users) > users:
            user = self._users.pop()
            self._removed.append(type(user))
            gevent.spawn(user.stop)


def _steps(segment: Segment) -> Iterator[tuple[float, int]]:
    first, last = round(segment.rate_start), round(segment.rate_end)
    step = 1 if last > first else -1
    slope = (segment.rate_end - segment.rate_start) / (segment.end_s - segment.start_s)
    for users in range(first + step, last + step, step) if last != first else ():
        yield segment.start_s + (users - step / 2 - segment.rate_start) / slope, users
