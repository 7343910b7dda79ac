"""One toxic at work on one direction of one connection: a bounded queue and the toxic's generator behind it.

Everything here runs in the event loop's thread and nothing awaits, so a stage can be changed or taken out between any
two chunks with nothing lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Protocol

from harness.proxy.timers import Timer, Timers
from harness.proxy.toxics.base import Chunk, Forward, Pipe, Receive, Reset, Signal, Toxic, Until

STEPS_AT_ONCE = 64
"""What a pipe may do before everything else in the loop has its turn: 64 KiB in single bytes would take a second."""


class Outgoing(Protocol):
    """Where chunks go: the next stage, or the socket."""

    full: bool

    def feed(self, chunk: Chunk) -> None:
        """Take a chunk; always accepted, but a sender holds back while `full`."""

    def end(self) -> None:
        """Nothing comes any more."""


class Incoming(Protocol):
    """Where chunks come from: the stage before, or the socket."""

    def crowded(self) -> None:
        """The receiver is full: send nothing for now."""

    def room(self) -> None:
        """The receiver takes chunks again. Called when nothing was held back, it does nothing."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stages share: the loop's timers, the server's randomness, and how to reset their connection."""

    timers: Timers
    random: Random
    reset: Callable[[], None]


class _Waits(Enum):
    INPUT = auto()
    TIME = auto()
    OUTPUT = auto()
    NOTHING = auto()
    """The generator is running."""
    FINISHED = auto()


class Stage:
    """Feeds a toxic's pipe and carries out its commands. Implements Outgoing, Incoming and Tap."""

    def __init__(self, toxic: Toxic, after: Outgoing, before: Incoming, surroundings: Surroundings) -> None:
        self.after = after
        self.before = before
        self.full = False
        self.passed = 0
        self.random = surroundings.random
        self._surroundings = surroundings
        self._queue: deque[Chunk] = deque()
        self._queued_bytes = 0
        self._ended = False
        self._chunk: Chunk | None = None
        self._timer: Timer | None = None
        self._waits = _Waits.NOTHING
        self._toxic = toxic
        self._pipe: Pipe = toxic.pipe(self)
        self._run(None)

    @property
    def toxic(self) -> Toxic:
        """The settings in force."""
        return self._toxic

    def now_ns(self) -> int:
        """The monotonic clock."""
        return time.monotonic_ns()

    def feed(self, chunk: Chunk) -> None:
        """Queue a chunk; dropped when this stage has closed its stream."""
        if self._ended or self._waits is _Waits.FINISHED:
            return
        self._queue.append(chunk)
        self._queued_bytes += chunk.size
        if self._waits is _Waits.INPUT:
            self._wake(self._take())
        elif (
            self._queued_bytes >= self._toxic.CAPACITY_BYTES or len(self._queue) >= self._toxic.CAPACITY_CHUNKS
        ) and not self.full:
            self.full = True
            self.before.crowded()

    def end(self) -> None:
        """The stream ends after what is queued."""
        if self._ended:
            return
        self._ended = True
        if self._waits is _Waits.INPUT:
            self._wake(Signal.END)

    def crowded(self) -> None:
        """Nothing to do: a stage looks at `after.full` before each chunk."""

    def room(self) -> None:
        """Go on if the pipe waits to pass something on."""
        if self._waits is _Waits.OUTPUT and not self.after.full:
            self._wake(Signal.DONE)

    def change(self, toxic: Toxic) -> None:
        """New settings. What the pipe held is passed on; what is queued meets the new ones."""
        if self._waits is _Waits.FINISHED:
            return
        self._interrupt()
        self._pass_on()
        self._toxic = toxic
        self._pipe = toxic.pipe(self)
        self._waits = _Waits.NOTHING
        self._run(None)

    def dismiss(self) -> None:
        """The toxic is removed: pass on everything at once, in order, or close where the toxic says so."""
        finished = self._waits is _Waits.FINISHED
        self.dispose()
        if finished:
            return
        if self._toxic.REMOVAL_CLOSES:
            self.after.end()
            return
        self._pass_on()
        while self._queue:
            self.after.feed(self._queue.popleft())
        if self._ended:
            self.after.end()

    def dispose(self) -> None:
        """Stop for good, passing nothing on."""
        self._interrupt()
        self._waits = _Waits.FINISHED

    def _interrupt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waits is _Waits.INPUT:
            self._chunk = None
        self._pipe.close()

    def _pass_on(self) -> None:
        chunk, self._chunk = self._chunk, None
        if chunk is not None and chunk.size:
            self.passed += chunk.size
            self.after.feed(chunk)

    def _wake(self, answer: Chunk | Signal) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waits = _Waits.NOTHING
        self._run(answer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake(Signal.TIMED_OUT if self._waits is _Waits.INPUT else Signal.DONE)

    def _sleep(self, until_ns: int) -> None:
        self._waits = _Waits.TIME
        self._timer = self._surroundings.timers.call_at(until_ns, self._on_timer)

    def _run(self, answer: Chunk | Signal | None) -> None:
        """Step the pipe until it has to wait, or has had its turn; `answer` is None to start it."""
        steps = 0
        while self._waits is _Waits.NOTHING:
            steps += 1
            if steps > STEPS_AT_ONCE and answer is Signal.DONE:
                self._sleep(self.now_ns())
                return
            try:
                command = next(self._pipe) if answer is None else self._pipe.send(answer)
            except StopIteration:
                self._finish()
                return
            answer = self._carry_out(command)
            if answer is None:
                return

    def _carry_out(self, command: object) -> Chunk | Signal | None:
        """The answer to a command, or None when it has to be waited for."""
        match command:
            case Receive(within_ns):
                self._chunk = None
                if self._queue:
                    return self._take()
                if self._ended:
                    return Signal.END
                self._waits = _Waits.INPUT
                if within_ns is not None:
                    self._timer = self._surroundings.timers.call_at(self.now_ns() + within_ns, self._on_timer)
                return None
            case Until(when_ns):
                if when_ns <= self.now_ns():
                    return Signal.DONE
                self._sleep(when_ns)
                return None
            case Forward(size):
                self._forward(size)
                if self.after.full:
                    self._waits = _Waits.OUTPUT
                    return None
                return Signal.DONE
            case Reset():
                self._surroundings.reset()
                return Signal.DONE
        raise TypeError(f"toxic {self._toxic.TYPE} yielded {command!r}, which is no command")

    def _forward(self, size: int | None) -> None:
        chunk = self._chunk
        if chunk is None:
            return
        if size is None or size >= chunk.size:
            self._pass_on()
            return
        if size <= 0:
            return
        view = memoryview(chunk.data)
        self._chunk = Chunk(view[size:], chunk.arrived_ns)
        self.passed += size
        self.after.feed(Chunk(view[:size], chunk.arrived_ns))

    def _take(self) -> Chunk:
        chunk = self._queue.popleft()
        self._queued_bytes -= chunk.size
        self._chunk = chunk
        if self.full and self._queued_bytes <= self._toxic.CAPACITY_BYTES // 2:
            self.full = False
            self.before.room()
        return chunk

    def _finish(self) -> None:
        self._waits = _Waits.FINISHED
        self._chunk = None
        self._queue.clear()
        self._queued_bytes = 0
        if self.full:
            self.full = False
            self.before.room()
        self.after.end()
