"""`OpenHttpUser`: the Locust user of this harness, for tasks of one HTTP request each.

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

One arrival runs one task, which makes one request; its retries are made by the scenario's `retries`. Weights decide
how often a task is drawn; wait times don't apply, arrivals come from the scenario. Requests from `on_start` and
`on_stop` are sent once, and are not part of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopUser
from locust.user import User

from harness.clock import NS
from harness.errors import LoadError
from harness.load.connection import Connection, ExchangeError
from harness.load.messages import Requests, Response
from harness.load.recorder import Arrival
from harness.load.session import LoadEnvironment, Session

END_OF_TASK: Final = (StopUser, InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately)
"""What a task may raise to say that it is done; the virtual user goes on to the next arrival."""


class RequestFailedError(Exception):
    """The `exception` of Locust's request event for a failed attempt: the error word, and what is known about it."""


class OpenHttpUser(User):
    """A virtual user with one keep-alive connection; derive from it and give it `@task`s of one request each.

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
        self.client = HttpClient(environment.session, self)

    @staticmethod
    def handler(user: OpenHttpUser) -> Callable[[Arrival], None]:
        """The function by which `user` carries out an arrival, from its task to its last row."""
        client, session, recorder = user.client, user.environment.session, user.environment.session.recorder

        def handle(arrival: Arrival) -> None:
            client.arrival = arrival
            try:
                arrival.task.run(user)
            except END_OF_TASK:
                pass
            except LoadError as error:
                session.fail(str(error))
                return
            except Exception as error:  # noqa: BLE001 - whatever a user's own code raises is a failed arrival
                client.task_raised(error)
            finally:
                client.arrival = None
            if arrival.answer is None:
                session.fail(f"the task {arrival.task.title} made no request; each arrival is one request")
                return
            recorder.settled(arrival)
            client.report(arrival)

        return handle


class HttpClient:
    """The HTTP/1.1 client of one virtual user: one request at a time, each sent once, no redirects followed."""

    def __init__(self, session: Session, user: User) -> None:
        self._session = session
        self._user = user
        self._event = user.environment.events.request
        self._requests = Requests(session.authority)
        self._connection = Connection(session.family, session.address, session.deadlines)
        self._method = ""
        self.arrival: Arrival | None = None

    def get(self, path: str, *, name: str = "", headers: Mapping[str, str] | None = None) -> Response:
        """GET `path`; see `request`."""
        return self.request("GET", path, name=name, headers=headers)

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
        request that cannot be sent, `LoadError` for a second request within one arrival.
        """
        message = self._requests.compose(method, path, headers, json, data)
        self._method = method
        arrival = self.arrival
        if arrival is None:
            return self._attempt(message)
        if arrival.start_ns >= 0:
            raise LoadError(
                f"the task {arrival.task.title} made a second request ({name or path}); each arrival is one request",
                remedy="make it a task of its own",
            )
        arrival.name(name or path)
        self._session.retries.arrived(arrival.endpoint)
        while True:
            response = self._attempt_of(arrival, message)
            if not response.error:
                return response
            wait_ns = self._session.retries.wait_ns(arrival.endpoint, arrival.attempt, response.status, response.error)
            if wait_ns is None:
                return response
            self.report(arrival)
            self._session.recorder.will_retry(arrival, wait_ns)
            left_ns = arrival.wanted_ns - self._session.now_ns()
            if left_ns > 0:
                gevent.sleep(left_ns / NS)

    def report(self, arrival: Arrival) -> None:
        """Fire Locust's request event for the attempt that has just ended, if anybody listens."""
        if not self._event.wanted or not isinstance(arrival.answer, Response):
            return
        response = arrival.answer
        failure = RequestFailedError(f"{response.error}: {response.detail}") if response.error else None
        self._event.fire(
            request_type=self._method,
            name=arrival.endpoint,
            response_time=(response.end_ns - response.start_ns) / 1e6,
            response_length=response.nbytes,
            exception=failure,
            context=self._user.context(),
            response=response,
        )

    def task_raised(self, error: Exception) -> None:
        """The task that is carried out raised `error`: what came back was not what it expected."""
        arrival = self.arrival
        if arrival is None:
            return
        if isinstance(arrival.answer, Response):
            arrival.answer.fail(f"{type(error).__name__}: {error}")
        else:
            arrival.name(arrival.task.endpoint)
            arrival.start_ns = self._session.now_ns()
            arrival.answer = Response(
                arrival.start_ns, arrival.start_ns, 0, "check", f"{type(error).__name__}: {error}"
            )
        arrival.task.complain(error)
        self._user.environment.events.user_error.fire(user_instance=self._user, exception=error, tb=error.__traceback__)

    def _attempt_of(self, arrival: Arrival, message: bytes) -> Response:
        arrival.start_ns = self._session.now_ns()
        if arrival.attempt == 0:
            self._session.recorder.started(arrival)
        arrival.on_wire = True
        response = self._attempt(message, arrival.start_ns)
        arrival.on_wire = False
        arrival.answer = response
        return response

    def _attempt(self, message: bytes, start_ns: int = -1) -> Response:
        session, connection = self._session, self._connection
        if start_ns < 0:
            start_ns = session.now_ns()
        try:
            connection.exchange(message, start_ns + session.t0_ns, bodiless=self._method == "HEAD")
        except ExchangeError as error:
            return Response(start_ns, session.now_ns(), 0, error.word, str(error))
        end_ns = session.now_ns()
        status = connection.status
        word = "" if status < 400 else "http_4xx" if status < 500 else "http_5xx"
        detail = f"status {status}" if word else ""
        return Response(start_ns, end_ns, status, word, detail, connection.head, connection.body)
