"""The request threads of a gunicorn worker, counted: how many work, how many requests wait for one, and how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Threads(ThreadPoolExecutor):
    """A thread pool with an unbounded first-in-first-out queue before it, as gunicorn's own, that can be looked at."""

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=limit, thread_name_prefix="request")
        self.limit = limit
        self._counts = threading.Lock()
        self._waiting = 0
        self._busy = 0
        self._current = threading.local()

    @property
    def waiting(self) -> int:
        """Requests that were accepted and have no thread yet."""
        return self._waiting

    @property
    def busy(self) -> int:
        """Threads that are working on a request or reading one."""
        return self._busy

    @property
    def waited_s(self) -> float:
        """How long the calling thread's request had waited for that thread; 0 outside of a request."""
        return float(getattr(self._current, "waited_s", 0.0))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a request."""
        with self._counts:
            self._waiting += 1
        return super().submit(self._run, time.monotonic(), fn, *args, **kwargs)

    def _run(self, submitted_s: float, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._current.waited_s = time.monotonic() - submitted_s
        with self._counts:
            self._waiting -= 1
            self._busy += 1
        try:
            return fn(*args, **kwargs)
        finally:
            with self._counts:
                self._busy -= 1


class CountedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's gthread worker with counted threads, that goes on serving for `shutdown_delay_s` after SIGTERM."""

    shutdown_delay_s = 0.0
    leaving = False

    def get_thread_pool(self) -> Threads:
        """Called once by gunicorn, in the worker process."""
        return Threads(self.cfg.threads)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: whoever sends requests here may hear of it late, so go on accepting them for a while."""
        if self.leaving:
            return
        self.leaving = True
        if self.shutdown_delay_s:
            # No connection is kept from now on: each answer says so, and the next request goes to another replica.
            self.max_keepalived = 0
            timer = threading.Timer(self.shutdown_delay_s, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)
