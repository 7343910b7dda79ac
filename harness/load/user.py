"""`OpenHttpUser`: the Locust user of this harness, an HTTP client that costs little, and sends each request once.

    from locust import task
    from harness.load.user import OpenHttpUser

    class Shopper(OpenHttpUser):
        @task(3)
        def catalog(self):
            self.client.get("/catalog", name="catalog")

        @task
        def checkout(self):
            response = self.client.post("/checkout", name="checkout", json={"sku": 1})
            if response.ok and "order" not in response.json():
                response.fail("no order number")

One arrival runs one task, and is its first request; each further request of the task is an arrival of its own, due
when the task wants it. Retries are made as the scenario's `retries` say. Weights decide how often a task is drawn;
wait times don't apply in the open model, where arrivals come from the scenario. Requests from before the arm's start
(`on_start` of the pool's users) are sent once, and are not part of the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gevent
from gevent import Greenlet
from gevent.pool import Group
from locust.user import User

from harness.clock import NS, now_ns
from harness.errors import LoadError
from harness.load.connection import Connection, ExchangeError
from harness.load.messages import Response
from harness.load.recorder import Arrival, Task
from harness.load.session import LoadEnvironment, Session
from harness.load.turn import further_arrival


class RequestFailedError(Exception):
    """The `exception` of Locust's request event for a failed attempt: the error word, and what is known about it."""


class OpenHttpUser(User):
    """A virtual user with one keep-alive connection; derive from it and give it `@task`s.

    Runs in the harness's load workers only; raises `LoadError` under plain `locust`.
    """

    abstract = True

    def __init__(self, environment: LoadEnvironment) -> None:
        super().__init__(environment)
        if not isinstance(environment, LoadEnvironment):
            raise LoadError(
                f"{type(self).__name__} is an OpenHttpUser, which only the harness can drive",
                remedy="run it with `harness run SCENARIO`, or derive it from locust's HttpUser",
            )
        session = environment.session
        self.client = HttpClient(session, self) if session.acknowledgements is None else NotingClient(session, self)

    def start(self, group: Group) -> Greenlet:
        """Start the user's greenlet, as Locust does; the connection ends with it."""
        greenlet = super().start(group)
        greenlet.link(lambda _ended: self.client.close())
        return greenlet


class HttpClient:
    """The HTTP/1.1 client of one virtual user: one request at a time, each sent once, no redirects followed.

    It is its user's `Turn`: `arrival` is what the next request will be, or what the last one was.
    """

    def __init__(self, session: Session, user: User) -> None:
        self._session = session
        self._user = user
        self._event = user.environment.events.request
        self._listeners = self._event.listeners
        self._requests = session.requests
        self._connection = Connection(session.family, session.address, session.deadlines)
        self._method = ""
        self._task = Task(type(user).__name__, type(user).__name__, lambda _user: None)
        self.arrival: Arrival | None = None

    def begin(self, arrival: Arrival | None) -> None:
        """A task starts; see `Turn`."""
        if self.arrival is not None:
            self._settle()
        self.arrival = arrival

    def finish(self, failure: Exception | None) -> bool:
        """The task is over; see `Turn`."""
        arrival = self.arrival
        if failure is not None and arrival is not None:
            self._task_raised(arrival, failure)
        return self._settle()

    def close(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        self._connection.close()

    def get(self, path: str, *, name: str = "", headers: Mapping[str, str] | None = None) -> Response:
        """GET `path`; see `request`."""
        requests = self._requests
        message = requests.get(path) if headers is None else requests.compose("GET", path, headers)
        return self._send("GET", message, name or path)

    def delete(self, path: str, *, name: str = "", headers: Mapping[str, str] | None = None) -> Response:
        """DELETE `path`; see `request`."""
        return self.request("DELETE", path, name=name, headers=headers)

    def head(self, path: str, *, name: str = "", headers: Mapping[str, str] | None = None) -> Response:
        """HEAD `path`; see `request`."""
        return self.request("HEAD", path, name=name, headers=headers)

    def post(
        self,
        path: str,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: Mapping[str, Any] | str | bytes | None = None,
    ) -> Response:
        """POST to `path`; see `request`."""
        return self.request("POST", path, name=name, headers=headers, json=json, data=data)

    def put(
        self,
        path: str,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: Mapping[str, Any] | str | bytes | None = None,
    ) -> Response:
        """PUT to `path`; see `request`."""
        return self.request("PUT", path, name=name, headers=headers, json=json, data=data)

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: Mapping[str, Any] | str | bytes | None = None,
    ) -> Response:
        """Send a request to the target and return its last attempt's `Response`; failures are no exceptions.

        `name` is the request's name in the record, the path when it is not given. Raises `ValueError` for a
        request that cannot be sent.
        """
        return self._send(method, self._requests.compose(method, path, headers, json, data), name or path)

    def report(self, arrival: Arrival) -> None:
        """Fire Locust's request event for the attempt that has just ended."""
        if not isinstance(arrival.answer, Response):
            return
        response = arrival.answer
        failure = RequestFailedError(f"{response.error}: {response.detail}") if response.error else None
        self._event.tell(
            request_type=self._method,
            name=arrival.endpoint,
            response_time=(response.end_ns - response.start_ns) / 1e6,
            response_length=response.nbytes,
            exception=failure,
            context=self._user.context(),
            response=response,
        )

    def _send(self, method: str, message: bytes, name: str) -> Response:
        """Make `message` the request of the arrival at hand, or of a further one, with its retries."""
        self._method = method
        session, arrival = self._session, self.arrival
        if arrival is None or arrival.start_ns >= 0:
            self._settle()
            self.arrival = arrival = further_arrival(session, self._task)
            if arrival is None:
                return self._attempt(message, session.now_ns())
        else:
            arrival.start_ns = now_ns() - session.t0_ns
        arrival.name(name)
        session.retries.arrived(name)
        session.recorder.started(arrival)
        while True:
            arrival.on_wire = True
            arrival.answer = response = self._attempt(message, arrival.start_ns)
            arrival.on_wire = False
            if not response.error or not self._tries_again(arrival, response):
                return response
            arrival.start_ns = session.now_ns()

    def _tries_again(self, arrival: Arrival, response: Response) -> bool:
        """Wait for the instant of the next attempt; False when there is none."""
        session = self._session
        wait_ns = session.retries.wait_ns(
            arrival.endpoint, arrival.attempt, response.status, response.error, response.end_ns
        )
        if wait_ns is None:
            return False
        if self._listeners:
            self.report(arrival)
        session.recorder.will_retry(arrival, wait_ns)
        left_ns = arrival.wanted_ns - session.now_ns()
        if left_ns > 0:
            gevent.sleep(left_ns / NS)
        return True

    def _settle(self) -> bool:
        """Write the last row of the arrival at hand, if it has been a request."""
        arrival, self.arrival = self.arrival, None
        if arrival is None or arrival.answer is None:
            return False
        self._session.recorder.settled(arrival)
        if self._listeners:
            self.report(arrival)
        return True

    def _task_raised(self, arrival: Arrival, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(arrival.answer, Response):
            arrival.answer.fail(reason)
        else:
            arrival.name(arrival.task.endpoint)
            arrival.start_ns = self._session.now_ns()
            arrival.answer = Response(arrival.start_ns, arrival.start_ns, 0, "check", reason)

    def _attempt(self, message: bytes, start_ns: int) -> Response:
        session, connection = self._session, self._connection
        try:
            connection.exchange(message, start_ns + session.t0_ns, self._method == "HEAD")
        except ExchangeError as error:
            return Response(start_ns, session.now_ns(), 0, error.word, str(error))
        end_ns, status = connection.answered_ns - session.t0_ns, connection.status
        if status < 400:
            return Response(start_ns, end_ns, status, "", "", connection.head, connection.body)
        word = "http_4xx" if status < 500 else "http_5xx"
        return Response(start_ns, end_ns, status, word, f"status {status}", connection.head, connection.body)


class NotingClient(HttpClient):
    """An `HttpClient` that notes which writes were acknowledged to it."""

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: Mapping[str, Any] | str | bytes | None = None,
    ) -> Response:
        """See `HttpClient.request`."""
        response = super().request(method, path, name=name, headers=headers, json=json, data=data)
        noted = self._session.acknowledgements
        if noted is not None and headers and self.arrival is not None:
            noted.answered(self.arrival.endpoint, headers, response.status, response.end_ns)
        return response
