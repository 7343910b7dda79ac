"""Drives Locust's own users (HttpUser, FastHttpUser, any User that fires the request event) as an open model.

Their tasks are functions of one request each. What a task's request event says becomes the arrival's row; a retry
runs the task again. Such users cost several times the CPU of `OpenHttpUser` per request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import gevent
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.response import HTTPConnectionClosed
from locust.contrib.fasthttp import FastHttpUser
from locust.event import EventHook
from locust.exception import CatchResponseError
from locust.user import User
from locust.user.users import HttpUser
from requests.exceptions import ConnectTimeout, Timeout
from urllib3.exceptions import NewConnectionError

from harness.clock import NS
from harness.errors import LoadError
from harness.load.recorder import Arrival
from harness.load.session import Session
from harness.load.user import END_OF_TASK


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; an `Answer`."""

    end_ns: int
    status: int
    error: str
    nbytes: int


class StockUsers:
    """Carries out arrivals with Locust's own users; one per worker, it listens to all of their requests."""

    def __init__(self, session: Session, request_event: EventHook) -> None:
        self._session = session
        self._serving: dict[Any, _Serving] = {}
        request_event.add_listener(self._on_request)  # type: ignore[no-untyped-call]

    def handler(self, user: User) -> Callable[[Arrival], None]:
        """The function by which `user` carries out an arrival, from its task to its last row."""
        if isinstance(user, FastHttpUser):
            _send_once(user)
        if isinstance(user, HttpUser | FastHttpUser):
            self._watch(user.client)
        session, recorder, retries = self._session, self._session.recorder, self._session.retries

        def handle(arrival: Arrival) -> None:
            while True:
                answer = self._attempt(user, arrival)
                if answer is None:
                    return
                arrival.answer = answer
                wait_ns = retries.wait_ns(arrival.endpoint, arrival.attempt, answer.status, answer.error)
                if wait_ns is None:
                    recorder.settled(arrival)
                    return
                recorder.will_retry(arrival, wait_ns)
                left_ns = arrival.wanted_ns - session.now_ns()
                if left_ns > 0:
                    gevent.sleep(left_ns / NS)

        return handle

    def _attempt(self, user: User, arrival: Arrival) -> Outcome | None:
        session = self._session
        me = gevent.getcurrent()
        arrival.start_ns = session.now_ns()
        if arrival.attempt == 0:
            session.recorder.started(arrival)
            arrival.name(arrival.task.endpoint)
        arrival.answer = None
        arrival.on_wire = True
        self._serving[me] = _Serving(arrival)
        error = ""
        try:
            with gevent.Timeout(session.deadlines.timeout_ns / NS, exception=_AttemptTimeoutError()):
                arrival.task.run(user)
        except _AttemptTimeoutError:
            error = "timeout"
        except END_OF_TASK:
            pass
        except LoadError as failure:
            session.fail(str(failure))
            return None
        except Exception as failure:  # noqa: BLE001 - whatever a user's own code raises is a failed arrival
            error = "check"
            arrival.task.complain(failure)
            user.environment.events.user_error.fire(user_instance=user, exception=failure, tb=failure.__traceback__)
        finally:
            del self._serving[me]
            arrival.on_wire = False
        return self._outcome(arrival, error)

    def _outcome(self, arrival: Arrival, error: str) -> Outcome | None:
        answer = arrival.answer
        if isinstance(answer, Outcome):
            return answer if answer.error or not error else Outcome(answer.end_ns, answer.status, error, answer.nbytes)
        if error:
            return Outcome(self._session.now_ns(), 0, error, 0)
        self._session.fail(f"the task {arrival.task.title} made no request; each arrival is one request")
        return None

    def _watch(self, client: Any) -> None:
        """Note the name and the start of each request of `client` when it is made: one that is cut off has no event."""
        send = client.request

        def request(method: str, url: str, name: str | None = None, *args: Any, **options: Any) -> Any:
            serving = self._serving.get(gevent.getcurrent())
            if serving is not None:
                self._begin(serving, name or client.request_name or url)
                serving.arrival.start_ns = self._session.now_ns()
                serving.start_is_known = True
            return send(method, url, name, *args, **options)

        client.request = request

    def _begin(self, serving: _Serving, name: str) -> None:
        arrival = serving.arrival
        if serving.named:
            raise LoadError(
                f"the task {arrival.task.title} made a second request ({name}); each arrival is one request",
                remedy="make it a task of its own",
            )
        serving.named = True
        if arrival.attempt == 0:
            arrival.name(name)
            self._session.retries.arrived(name)

    def _on_request(
        self,
        name: str,
        response_time: float,
        response_length: int | None,
        exception: BaseException | None = None,
        response: Any = None,
        **_: Any,
    ) -> None:
        serving = self._serving.get(gevent.getcurrent())
        if serving is None:
            return
        arrival = serving.arrival
        end_ns = self._session.now_ns()
        elapsed_ns = int(response_time * 1e6)
        if serving.start_is_known:
            # The event may come after the user's own checks of the response.
            end_ns = min(end_ns, arrival.start_ns + elapsed_ns)
        else:
            self._begin_by_event(serving, name)
            arrival.start_ns = max(arrival.start_ns, end_ns - elapsed_ns)
        status = int(getattr(response, "status_code", 0) or 0)
        arrival.answer = Outcome(end_ns, status, error_word(status, exception), response_length or 0)

    def _begin_by_event(self, serving: _Serving, name: str) -> None:
        try:
            self._begin(serving, name)
        except LoadError as error:
            # Locust swallows what a listener raises.
            self._session.fail(str(error))


class _Serving:
    """An attempt of `arrival` that a user is busy with."""

    __slots__ = ("arrival", "named", "start_is_known")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.named = False
        self.start_is_known = False


def error_word(status: int, exception: BaseException | None) -> str:
    """The record's error word for what Locust's request event reported."""
    if exception is None:
        return ""
    if status >= 400:
        return "http_5xx" if status >= 500 else "http_4xx"
    causes = list(_causes(exception))
    if any(isinstance(cause, CatchResponseError) for cause in causes):
        return "check"
    if any(isinstance(cause, ConnectTimeout | Timeout | TimeoutError) for cause in causes):
        return "timeout"
    if any(isinstance(cause, ConnectionRefusedError | NewConnectionError) for cause in causes):
        return "connect"
    resets = ConnectionError | RemoteDisconnected | HTTPConnectionClosed | IncompleteRead
    if any(isinstance(cause, resets) for cause in causes):
        return "reset"
    return "check" if status else "protocol"


class _AttemptTimeoutError(BaseException):
    pass


class _OneAttemptPool(HTTPClientPool):
    """geventhttpclient repeats a failed request as often as its pool is large; here it has no turns left."""

    def get_client(self, url: Any) -> HTTPClient:
        client = super().get_client(url)
        client._connection_pool.size = -1
        return client


def _send_once(user: FastHttpUser) -> None:
    agent = user.client.client
    agent.clientpool = _OneAttemptPool(**agent.clientpool.client_args)
    agent.max_retries = 0


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """The exception, and every other one it was made from, by cause, context or argument."""
    pending, seen = [exception], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        nested = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        pending.extend(item for item in nested if isinstance(item, BaseException))
