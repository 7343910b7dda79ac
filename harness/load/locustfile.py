"""Loads a locustfile: its user classes, its tasks with their weights, and clear words for what is wrong with it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from locust.shape import LoadTestShape
from locust.user import User
from locust.user.task import TaskSet

from harness.errors import LoadError, nearest
from harness.load.recorder import Task


@dataclass(frozen=True, slots=True)
class Locustfile:
    """The user classes of a locustfile, its tasks, and each task's share of the arrivals (`weights`, any scale).

    Each user class gets arrivals in proportion to its weight (or its fixed number of users), divided among its tasks
    in proportion to theirs. A class of `looping` has task sets: it stands here as one task, and its users find their
    way through their tasks themselves.
    """

    user_classes: tuple[type[User], ...]
    looping: frozenset[type[User]]
    tasks: tuple[Task, ...]
    weights: tuple[float, ...]


def load_user_classes(path: Path) -> tuple[type[User], ...]:
    """Import the locustfile at `path`; its folder stays on `sys.path`.

    Raises `LoadError` with file and line when it doesn't load, and for what a load worker cannot drive.
    """
    module = _imported(path.resolve())
    members = list(dict.fromkeys(value for value in vars(module).values() if inspect.isclass(value)))
    if any(issubclass(member, LoadTestShape) and not getattr(member, "abstract", True) for member in members):
        raise LoadError(
            f"{path}: a LoadTestShape is not supported", remedy="the scenario's `load.phases` say how the load goes"
        )
    user_classes = tuple(
        member
        for member in members
        if issubclass(member, User) and not member.abstract and (member.weight > 0 or member.fixed_count > 0)
    )
    if not user_classes:
        raise LoadError(
            f"{path}: there is no user class in it",
            remedy="define a class derived from harness.load.user.OpenHttpUser (or locust's HttpUser) with a @task",
        )
    for name, count in Counter(user_class.__name__ for user_class in user_classes).items():
        if count > 1:
            raise LoadError(f"{path}: {count} user classes are called {name}", remedy="give them names of their own")
    return user_classes


def chosen(user_classes: Sequence[type[User]], names: Sequence[str], path: Path) -> Sequence[type[User]]:
    """Those of the user classes that are called one of `names`, all when there are none. Raises `LoadError`."""
    known = {user_class.__name__: user_class for user_class in user_classes}
    for name in names:
        if name not in known:
            raise LoadError(f"{path}: `load.options` names no user class `{name}`", remedy=nearest(name, known))
    return [known[name] for name in names] or user_classes


def describe(user_classes: Sequence[type[User]], path: Path, users: int) -> Locustfile:
    """The tasks of `user_classes` and their weights, for a pool of `users` in all.

    Raises `LoadError` for a class without tasks, and when the fixed numbers of users leave none for the others.
    """
    tasks: list[Task] = []
    weights: list[float] = []
    looping = set()
    for user_class, share in zip(user_classes, _shares(user_classes, path, users), strict=True):
        if not any(_has_tasks(task) for task in user_class.tasks):
            raise LoadError(
                f"{_where(path, user_class)}: {user_class.__name__} has no task",
                remedy="mark one with @task, and look whether the tags in `load.options` leave one",
            )
        if any(inspect.isclass(task) for task in user_class.tasks):
            looping.add(user_class)
            tasks.append(Task(user_class.__name__, user_class.__name__, lambda _user: None))
            weights.append(share)
            continue
        counts: Counter[Any] = Counter(user_class.tasks)
        for function, count in counts.items():
            tasks.append(Task(user_class.__name__, function.__name__, function))
            weights.append(share * count / counts.total())
    return Locustfile(tuple(user_classes), frozenset(looping), tuple(tasks), tuple(weights))


def _has_tasks(task: Any) -> bool:
    return not (inspect.isclass(task) and issubclass(task, TaskSet)) or bool(task.tasks) or hasattr(task, "current")


def _shares(user_classes: Sequence[type[User]], path: Path, users: int) -> list[float]:
    """Each class's part of the users, and so of the arrivals: a fixed number, or by weight what that leaves."""
    fixed = sum(user_class.fixed_count for user_class in user_classes)
    weight = sum(user_class.weight for user_class in user_classes if not user_class.fixed_count)
    if weight and fixed >= users:
        raise LoadError(
            f"{path}: the fixed_count of its user classes takes all {users} virtual users", remedy="raise `load.pool`"
        )
    return [float(one.fixed_count or one.weight * (users - fixed) / weight) for one in user_classes]


def _imported(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))
    # A locustfile called locust.py would otherwise hide the package of that name.
    name = path.stem if path.stem not in sys.modules else f"locustfile_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise LoadError(
            f"{path}: there is no such locustfile", remedy="`load.users` is relative to the scenario's file"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise LoadError(f"{error.filename or path}:{error.lineno or 0}: {type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # a locustfile may raise anything while it is imported
        raise LoadError(f"{_raised_at(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _raised_at(error: BaseException, path: Path) -> str:
    """The innermost line of the user's own files (those beside the locustfile) that led to `error`."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(path.parent)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)


def _where(path: Path, member: Any) -> str:
    try:
        return f"{inspect.getsourcefile(member) or path}:{inspect.getsourcelines(member)[1]}"
    except (OSError, TypeError):
        return str(path)
