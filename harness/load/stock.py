"""Records what Locust's own users do (HttpUser, FastHttpUser, any User that fires the request event), unchanged.

Locust tells of a request when it is over, by the `request` event, or not at all when it is cut off. So the one
method by which both of its HTTP clients send requests is replaced by one that notes their beginning, times them out,
and repeats what failed when the scenario's `retries` say so; the request itself is the client's own. Redirects that
the client follows belong to the request: one row, with the last response's status, over the whole time.

Clients of other kinds are known by their events alone: the row begins as long ago as the event says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import gevent
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession, FastHttpUser
from locust.user import User
from locust.user.users import HttpUser

from harness.clock import NS
from harness.load.deadlines import Deadlines
from harness.load.fasthttp import spare_work
from harness.load.outcome import AttemptTimeout, Outcome, error_word
from harness.load.recorder import Arrival, Task
from harness.load.session import RequestHook, Session
from harness.load.turn import further_arrival

_KEY: Final = "_harness"
"""What this module keeps on Locust's own objects is kept under this name."""


class StockUsers:
    """The turns of Locust's own users; one per worker, it sees all of their requests."""

    def __init__(self, session: Session, request_event: RequestHook) -> None:
        self._session = session
        self._sending: dict[Any, _Attempt] = {}
        timeout_s = session.deadlines.timeout_ns / NS
        self._deadlines = Deadlines(timeout_s, _no_answer)
        request_event.observer = self._on_event
        for client in (HttpSession, FastHttpSession):
            client.request = self._recorded(client.request)  # type: ignore[method-assign]  # see the module's docstring
        spare_work(timeout_s, self._is_timed)

    def turn(self, user: User) -> StockTurn:
        """The turn of `user`, the same for all its life."""
        turn: StockTurn | None = user.__dict__.get(_KEY)
        if turn is None:
            user.__dict__[_KEY] = turn = StockTurn(self._session, user)
        return turn

    def _recorded(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def request(client: Any, method: str, url: str, name: str | None = None, *args: Any, **options: Any) -> Any:
            turn = self._turn_here(client.user)
            given = name or client.request_name
            arrival = turn.next(given or str(url)) if turn is not None else None
            if turn is None or arrival is None:
                return send(client, method, url, name, *args, **options)
            attempt = _Attempt(turn, arrival, renames=not given, streams=bool(args) or "stream" in options)
            response = self._send(attempt, partial(send, client, method, url, name, *args, **options))
            noted, sent = self._session.acknowledgements, getattr(response, "request", None)
            if noted is not None and sent is not None:
                status = int(response.status_code or 0)
                noted.answered(arrival.endpoint, sent.headers, status, self._session.now_ns())
            return response

        return request

    def _send(self, attempt: _Attempt, send: Callable[[], Any]) -> Any:
        """Send a request, and again as long as its retry policy wants it; returns the last attempt's response."""
        session, sending, arrival = self._session, self._sending, attempt.arrival
        while True:
            attempt.greenlet = me = gevent.getcurrent()
            outer = sending.get(me)
            sending[me] = attempt
            arrival.on_wire = True
            self._deadlines.start(attempt, arrival.start_ns + session.t0_ns)
            try:
                response = send()
            except BaseException as error:
                attempt.outcome = attempt.outcome or _cut_short(session.now_ns(), error)
                attempt.owner.answered(arrival, attempt.outcome)
                raise
            finally:
                self._deadlines.end(attempt)
                if outer is None:
                    del sending[me]
                else:
                    sending[me] = outer
            outcome = attempt.outcome or _outcome_of(response, arrival, session.now_ns())
            wait_ns = session.retries.wait_ns(
                arrival.endpoint, arrival.attempt, outcome.status, outcome.error, outcome.end_ns
            )
            unjudged = attempt.outcome is None and _reports_later(response)
            if unjudged:
                response.request_meta[_KEY] = attempt
            if wait_ns is None:
                if unjudged:
                    attempt.owner.unjudged(arrival, outcome)
                else:
                    attempt.owner.answered(arrival, outcome)
                return response
            if unjudged:
                with response:
                    pass
            attempt = self._again(attempt, outcome, wait_ns)

    def _again(self, attempt: _Attempt, outcome: Outcome, wait_ns: int) -> _Attempt:
        """Wait for the next attempt of what ended as `outcome`."""
        arrival = attempt.arrival
        arrival.on_wire = False
        arrival.answer = outcome
        self._session.recorder.will_retry(arrival, wait_ns)
        left_ns = arrival.wanted_ns - self._session.now_ns()
        if left_ns > 0:
            gevent.sleep(left_ns / NS)
        arrival.start_ns = self._session.now_ns()
        return _Attempt(attempt.owner, arrival, renames=False, streams=attempt.streams)

    def _is_timed(self) -> bool:
        """Whether the current greenlet is in a request that a deadline ends, the reading of its response included."""
        attempt = self._sending.get(gevent.getcurrent())
        return attempt is not None and not attempt.streams

    def _on_event(self, report: dict[str, Any]) -> None:
        attempt: _Attempt | None = report.pop(_KEY, None) or self._sending.get(gevent.getcurrent())
        end_ns = self._session.now_ns()
        if attempt is None:
            turn = self._turn_here(None)
            if turn is not None:
                turn.happened(report, end_ns)
        elif attempt.outcome is None:
            # The event may come after the user's own checks of the response.
            end_ns = min(end_ns, attempt.arrival.start_ns + _elapsed_ns(report))
            attempt.outcome = _reported(report, end_ns)
            if attempt.renames:
                attempt.arrival.name(str(report.get("name")))
            attempt.owner.judged(attempt.arrival, attempt.outcome)

    def _turn_here(self, user: User | None) -> StockTurn | None:
        """The turn to which a request of `user`, or one from the current greenlet, belongs."""
        if user is not None and user.environment is not None:
            return self.turn(user)
        greenlet = gevent.getcurrent()
        while greenlet is not None:
            # Locust's user greenlets have their user as the only argument; requests may be made by their children.
            user = next(iter(getattr(greenlet, "args", ())), None)
            if isinstance(user, User):
                return self.turn(user)
            parent = getattr(greenlet, "spawning_greenlet", None)
            greenlet = parent() if parent is not None else None
        return None


class StockTurn:
    """What one of Locust's own users has in hand; see `Turn`.

    The row of a request is written when the next one starts or the task ends, because until then the task may still
    find that the response was wrong. Those that were asked for with `catch_response` wait for their verdict.
    """

    __slots__ = ("_answered", "_arrival", "_began_ns", "_deadline", "_session", "_speaks_http", "_task", "_unjudged")

    def __init__(self, session: Session, user: User) -> None:
        self._session = session
        self._speaks_http = isinstance(user, HttpUser | FastHttpUser)
        self._task = Task(type(user).__name__, type(user).__name__, lambda _user: None)
        self._arrival: Arrival | None = None
        self._answered: Arrival | None = None
        self._unjudged: list[Arrival] = []
        self._deadline: gevent.Timeout | None = None
        self._began_ns = 0

    def begin(self, arrival: Arrival | None) -> None:
        """A task starts; see `Turn`."""
        self._settle()
        self._arrival = arrival
        if arrival is not None and not self._speaks_http:
            self._began_ns = self._session.now_ns()
            # Nobody says when a client of another kind sends something: the timeout is for the task's first request.
            timeout_s = self._session.deadlines.timeout_ns / NS
            self._deadline = gevent.Timeout.start_new(timeout_s, AttemptTimeout("no request event in time"))

    def finish(self, failure: Exception | None) -> bool:
        """The task is over; see `Turn`."""
        self._end_deadline()
        arrival, self._arrival = self._arrival, None
        if arrival is not None and failure is not None:
            now_ns = self._session.now_ns()
            arrival.start_ns = max(self._began_ns, arrival.intended_ns)
            arrival.name(arrival.task.endpoint)
            self.answered(arrival, Outcome(now_ns, 0, error_word(0, failure, otherwise="check"), 0))
            arrival = None
        elif failure is not None:
            for wrong in self._unjudged or ([self._answered] if self._answered is not None else []):
                _fail(wrong)
        while self._unjudged:
            self._session.recorder.settled(self._unjudged.pop())
        self._settle()
        return arrival is None

    def next(self, name: str, start_ns: int | None = None) -> Arrival | None:
        """The arrival of the request `name` that is about to be sent; None when it is not to be recorded.

        `start_ns` is for a request that is over already.
        """
        session = self._session
        self._settle()
        self._end_deadline()
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            arrival = further_arrival(session, self._task, start_ns)
            if arrival is None:
                return None
        elif arrival.start_ns < 0:
            arrival.start_ns = session.now_ns() if start_ns is None else max(start_ns, arrival.intended_ns)
        arrival.name(name)
        session.recorder.started(arrival)
        session.retries.arrived(name)
        return arrival

    def happened(self, report: dict[str, Any], end_ns: int) -> None:
        """A request was made by a client that says so only now."""
        start_ns = max(self._began_ns, end_ns - _elapsed_ns(report))
        arrival = self.next(str(report.get("name")), start_ns)
        if arrival is not None:
            self.answered(arrival, _reported(report, end_ns))

    def answered(self, arrival: Arrival, outcome: Outcome) -> None:
        """The last attempt of `arrival` is over."""
        self._settle()
        arrival.on_wire = False
        arrival.answer = outcome
        self._answered = arrival

    def unjudged(self, arrival: Arrival, outcome: Outcome) -> None:
        """The last attempt of `arrival` is over, but the task has yet to say whether the response was right."""
        arrival.on_wire = False
        arrival.answer = outcome
        self._unjudged.append(arrival)

    def judged(self, arrival: Arrival, outcome: Outcome) -> None:
        """The task has said so."""
        if arrival in self._unjudged:
            self._unjudged.remove(arrival)
            self.answered(arrival, outcome)

    def _settle(self) -> None:
        if self._answered is not None:
            arrival, self._answered = self._answered, None
            self._session.recorder.settled(arrival)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.close()
            self._deadline = None


class _Attempt:
    """A request on the wire, or one whose verdict is open; `greenlet` is for `Deadlines`.

    `renames` when the event says its name; `streams` when its response may be read after the request is over.
    """

    __slots__ = ("arrival", "greenlet", "outcome", "owner", "renames", "streams")

    def __init__(self, owner: StockTurn, arrival: Arrival, *, renames: bool, streams: bool) -> None:
        self.owner = owner
        self.arrival = arrival
        self.renames = renames
        self.streams = streams
        self.outcome: Outcome | None = None
        self.greenlet: Any = None


def _no_answer() -> AttemptTimeout:
    return AttemptTimeout("no answer in time")


def _reports_later(response: Any) -> bool:
    """Whether `response` was asked for with `catch_response`, and fires the event at the end of its with-block."""
    return bool(getattr(response, "_catch_response", False)) and hasattr(response, "request_meta")


def _outcome_of(response: Any, arrival: Arrival, now_ns: int) -> Outcome:
    """How an attempt ended of which no event has told (yet)."""
    report = getattr(response, "request_meta", {})
    status = int(getattr(response, "status_code", 0) or 0)
    exception = report.get("exception") or getattr(response, "error", None)
    if exception is None and status >= 400:
        exception = ConnectionError(f"status {status}")
    end_ns = min(now_ns, arrival.start_ns + _elapsed_ns(report)) if report else now_ns
    return Outcome(end_ns, status, error_word(status, exception), int(report.get("response_length") or 0))


def _reported(report: dict[str, Any], end_ns: int) -> Outcome:
    response, exception = report.get("response"), report.get("exception")
    status = int(getattr(response, "status_code", 0) or 0)
    word = error_word(status, exception, "check" if response is None else "protocol") if exception is not None else ""
    return Outcome(end_ns, status, word, int(report.get("response_length") or 0))


def _elapsed_ns(report: dict[str, Any]) -> int:
    return int((report.get("response_time") or 0) * 1e6)


def _cut_short(now_ns: int, error: BaseException) -> Outcome:
    """The end of an attempt that raised: by a mistake in the task, or because its user was stopped."""
    return Outcome(now_ns, 0, error_word(0, error, otherwise="check") if isinstance(error, Exception) else "aborted", 0)


def _fail(arrival: Arrival) -> None:
    answer = arrival.answer
    if answer is not None and not answer.error:
        arrival.answer = Outcome(answer.end_ns, answer.status, "check", answer.nbytes)
