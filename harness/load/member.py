"""One load worker as its conductor sees it: what it has said, and how it ended, wherever it runs."""

from __future__ import annotations

import json
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import LoadError
from harness.load.spec import Progress, WorkerSpec
from harness.load.validity import WorkerResult
from harness.record.clocks import read_clock
from harness.record.spool import count_rows


class Member(ABC):
    """A worker of one arm. `hear` and `end` are called by a thread that listens, the rest by the conductor's.

    `users` is known once it is ready; `health` are its progress reports so far.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.users = 0
        self.health: list[Progress] = []
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._done: Mapping[str, Any] | None = None
        self._last_words = ""
        self._exit_code: int | None = None
        self._ended = threading.Event()

    @abstractmethod
    def start(self) -> None:
        """Have the worker begin to start its virtual users; returns at once."""

    @abstractmethod
    def tell(self, message: dict[str, Any]) -> None:
        """Send a command; a worker that has ended can be told nothing, which is no error."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.spec.name

    @property
    def over(self) -> bool:
        """Whether it sends nothing any more, or is of no use."""
        return self._ended.is_set() or self._done is not None or bool(self._last_words)

    def await_event(self, event: str, deadline_s: float) -> None:
        """Wait until the worker has said `event`. Raises `LoadError` when it fails instead, or says nothing."""
        while True:
            try:
                heard = self._events.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                raise LoadError(
                    f"{self.title} was not {event} in time", remedy="look into its log for what it waits for"
                ) from None
            if heard == event:
                return
            self.raise_failure()

    def raise_failure(self) -> None:
        """Raise `LoadError` with its last words when it has failed."""
        if self._last_words:
            raise LoadError(f"{self.title}: {self._last_words}")
        if self._ended.is_set() and self._done is None:
            raise LoadError(f"{self.title} died ({_how(self._exit_code)})", remedy="look into its log")

    def collect(self, deadline_s: float) -> WorkerResult:
        """Wait for its end (it is killed when that does not come in time), and say what it left behind."""
        if not self._ended.wait(max(0.0, deadline_s - time.monotonic())):
            self._last_words = self._last_words or "did not end in time and was killed"
            self.kill()
        spool = Path(self.spec.spool)
        clock = read_clock(spool)
        return WorkerResult(
            name=self.spec.name,
            spool=spool,
            rows=self._done["rows"] if self._done else None,
            arrivals=self._done["arrivals"] if self._done else None,
            spool_rows=count_rows(spool),
            exit_code=self._exit_code,
            health=tuple(self.health),
            last_words=self._last_words,
            notes=tuple(self._done["notes"]) if self._done else (),
            clock=clock.summary if clock else None,
        )

    def hear(self, message: Any) -> None:
        """Take in an event of the worker, as `harness.load.worker` describes them."""
        try:
            event, fields = message["event"], {name: value for name, value in message.items() if name != "event"}
            if event == "ready":
                self.users = fields["users"]
            elif event == "progress":
                self.health.append(Progress.from_data(fields))
            elif event == "done":
                self._done = fields
            elif event == "error":
                self._last_words = fields["message"]
        except (KeyError, TypeError):
            self.fail(f"said something unexpected: {json.dumps(message)[:200]}")
            return
        if event != "progress":
            self._events.put(event)

    def fail(self, why: str) -> None:
        """The worker is of no use any more, whether it runs on or not; the first reason stands."""
        self._last_words = self._last_words or why
        self._events.put("error")

    def end(self, exit_code: int | None) -> None:
        """The worker has ended, and everything it has said was heard."""
        self._exit_code = exit_code
        self._ended.set()
        self._events.put("ended")


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
