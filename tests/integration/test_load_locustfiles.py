"""Locustfiles as people write them, unchanged, in both models: every request is a row, and Locust's rules hold."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest
from load_servers import OK, Server, Wire, drive, good, make_load, make_specs, planned_ns, respond, steady, worker_env

from harness.errors import LoadError
from harness.load.validity import validity_reasons
from harness.load.workers import LoadWorkers
from harness.plan import Retry, Segment


def run(tmp_path, locustfile, *, script=good, segments=None, **options):
    """The rows, the worker's result and the server after a run against `script`."""
    load = make_load(tmp_path, locustfile, segments or steady(80, 1.0, quiet_s=0.4), **options)
    with Server(script) as server:
        results, [rows] = drive(tmp_path, load, server.host)
    assert results[0].last_words == ""
    assert results[0].exit_code == 0
    assert len(set(rows.data["local"])) == len(rows.data) == results[0].rows
    assert results[0].arrivals == rows.arrivals
    return rows, results[0], server, load


def test_task_sets_of_all_kinds_take_one_arrival_for_each_task(tmp_path):
    told = tmp_path / "told.txt"
    locustfile = f"""
        from locust import FastHttpUser, HttpUser, MarkovTaskSet, SequentialTaskSet, TaskSet, between, task, transition
        from harness.load.user import OpenHttpUser

        TOLD = open({str(told)!r}, "a", buffering=1)

        class Checkout(SequentialTaskSet):
            wait_time = between(50, 60)
            def on_start(self):
                print("enter checkout", file=TOLD)
            def on_stop(self):
                print("leave checkout", file=TOLD)
            @task
            def cart(self):
                self.client.get("/cart", name="cart")
            @task
            def pay(self):
                self.client.post("/pay", name="pay", json={{"sku": 1}})
            @task
            def done(self):
                self.interrupt()

        class Browser(HttpUser):
            wait_time = between(50, 60)
            tasks = {{Checkout: 1}}
            @task(3)
            class Look(TaskSet):
                @task(4)
                def page(self):
                    self.client.get("/page", name="page")
                @task
                class Deeper(TaskSet):
                    @task
                    def photo(self):
                        self.client.get("/photo", name="photo")
                        self.interrupt(reschedule=False)
                @task(2)
                def up(self):
                    self.interrupt()
            @task
            def front(self):
                self.client.get("/", name="front")

        class Walker(MarkovTaskSet):
            @transition("b")
            def a(self):
                self.client.get("/a", name="a")
            @transition("a")
            def b(self):
                self.client.get("/b", name="b")

        class Walking(FastHttpUser):
            tasks = [Walker]

        class Steps(SequentialTaskSet):
            @task
            def one(self):
                self.client.get("/one", name="one")
            @task
            def two(self):
                self.client.get("/two", name="two")

        class Own(OpenHttpUser):
            tasks = [Steps]
    """
    rows, result, server, load = run(tmp_path, locustfile, segments=steady(150, 1.5, quiet_s=0.3), users=24)
    assert set(rows.errors) == {""}
    assert sorted(rows.data["intended_ns"]) == planned_ns(load)
    assert sum(server.requests.values()) == len(rows.data) == 225
    assert set(rows.endpoints) == {"cart", "pay", "page", "photo", "front", "a", "b", "one", "two"}
    assert set(server.requests) == {"/cart", "/pay", "/page", "/photo", "/", "/a", "/b", "/one", "/two"}
    seen = Counter(rows.endpoints)
    for first, second in (("cart", "pay"), ("a", "b"), ("one", "two")):
        assert 0 <= seen[first] - seen[second] <= 8  # each of eight users of a class may be in the middle of it
    shares = [sum(seen[name] for name in names) for names in (("a", "b"), ("one", "two"))]
    assert all(50 < share < 100 for share in shares)
    assert np.median(rows.data["start_ns"] - rows.data["intended_ns"]) < 50_000_000
    story = told.read_text().split("\n")
    assert story.count("enter checkout") >= story.count("leave checkout") > 0
    assert result.health[-1].users_free == 24
    # Users are taken at random: in turn, all eight of a class would come to the same step together, again and again.
    steps = [
        name for _, name in sorted(zip(rows.data["intended_ns"], rows.endpoints, strict=True)) if name in ("one", "two")
    ]
    assert sum(before != after for before, after in pairwise(steps)) > len(steps) / 4


def test_the_first_request_of_a_task_is_the_arrival_and_further_ones_are_their_own(tmp_path):
    body = """
            @task
            def journey(self):
                self.client.get("/first", name="first")
                time.sleep(0.05)
                self.client.get("/second", name="second")
                self.client.get("/third", name="third")
                if next(calls) % 2:
                    raise ValueError("the third was wrong")
            @task
            def nothing(self):
                pass
            @task
            def early(self):
                raise KeyError("before any request")
    """
    locustfile = f"""
        import itertools, time
        from locust import FastHttpUser, HttpUser, constant, task
        from harness.load.user import OpenHttpUser

        calls = itertools.count()

        class Stock(HttpUser):
            {body}
        class Fast(FastHttpUser):
            {body}
        class Own(OpenHttpUser):
            {body}
    """
    rows, result, server, load = run(tmp_path, locustfile, segments=steady(90, 1.0, quiet_s=0.5), users=30)
    planned = planned_ns(load)
    firsts, seconds, thirds = (rows.of(name) for name in ("first", "second", "third"))
    early = rows.of("early")
    journeys = len(firsts.data)
    assert journeys == len(seconds.data) == len(thirds.data)
    assert len(rows.data) == 3 * journeys + len(early.data)
    idle = len(planned) - journeys - len(early.data)
    assert idle > 0
    assert result.notes == (f"{idle} arrivals ran a task that made no request; they are not in the record",)
    assert set(firsts.data["intended_ns"]) <= set(planned)
    assert set(early.data["intended_ns"]) <= set(planned)
    assert not set(seconds.data["intended_ns"]) & set(planned)
    # A further request is due when the task wants it: half a tenth of a second after the answer to the first.
    assert (seconds.data["intended_ns"] - seconds.data["start_ns"] <= 0).all()
    assert (seconds.data["start_ns"] - seconds.data["intended_ns"] < 20_000_000).mean() > 0.9
    assert (np.sort(seconds.data["intended_ns"]) - np.sort(firsts.data["end_ns"]) >= 50_000_000).all()
    assert set(early.errors) == {"check"}
    assert set(firsts.errors) == set(seconds.errors) == {""}
    assert Counter(thirds.errors) == {"": (journeys + 1) // 2, "check": journeys // 2}
    assert sum(server.requests.values()) == 3 * journeys


def test_only_the_request_that_failed_is_repeated(tmp_path):
    heard = tmp_path / "heard.jsonl"
    body = """
            @task
            def journey(self):
                self.client.get("/fine", name="fine")
                with self.client.get("/flaky", name="flaky", catch_response=True) as response:
                    if response.status_code != 200:
                        response.failure("not even the last attempt")
                self.client.get("/fine", name="last")
    """
    locustfile = f"""
        import json
        from locust import FastHttpUser, HttpUser, events, task

        OUT = open({str(heard)!r}, "a", buffering=1)

        @events.request.add_listener
        def hear(name, response, exception, **_):
            print(json.dumps([name, response.status_code, bool(exception)]), file=OUT)

        class Stock(HttpUser):
            {body}
        class Fast(FastHttpUser):
            {body}
    """
    calls = iter(range(10**6))

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            wire.send(respond(503) if path == "/flaky" and next(calls) % 4 != 3 else OK)

    retries = {"flaky": Retry("immediate", 2), "last": Retry("immediate", 3)}
    rows, _, server, _ = run(
        tmp_path, locustfile, script=script, segments=steady(40, 1.0, quiet_s=0.4), retries=retries
    )
    flaky = rows.of("flaky")
    assert len(rows.of("fine").data) == len(rows.of("last").data) == flaky.arrivals == 40
    assert server.requests == {"/fine": 80, "/flaky": len(flaky.data)}
    assert flaky.arrivals < len(flaky.data) <= 3 * flaky.arrivals
    chains = [
        list(chain)
        for _, chain in groupby(
            sorted(flaky.data, key=lambda row: (row["first_local"], row["attempt"])), key=lambda row: row["first_local"]
        )
    ]
    for chain in chains:
        assert [row["attempt"] for row in chain] == list(range(len(chain)))
        assert [row["status"] for row in chain[:-1]] == [503] * (len(chain) - 1)
        assert all(before["end_ns"] <= after["start_ns"] for before, after in pairwise(chain))
    reports = [json.loads(line) for line in heard.read_text().splitlines()]
    assert Counter(report[0] for report in reports) == {"fine": 40, "last": 40, "flaky": len(flaky.data)}
    assert sum(failed for name, _, failed in reports if name == "flaky") == (flaky.data["status"] == 503).sum()


def test_in_the_closed_model_users_come_and_go_and_wait_by_themselves(tmp_path):
    told = tmp_path / "told.txt"
    locustfile = f"""
        import time
        from locust import FastHttpUser, HttpUser, SequentialTaskSet, constant, constant_throughput, events, task
        from harness.load.user import OpenHttpUser

        TOLD = open({str(told)!r}, "a", buffering=1)

        class Logging:
            def on_start(self):
                self.client.get("/login", name="login")
            def on_stop(self):
                print("bye", file=TOLD)

        class Once(SequentialTaskSet):
            @task
            def slow(self):
                self.client.get("/slow", name="slow")
            @task
            def next(self):
                self.client.get("/next", name="next")

        class Stock(Logging, HttpUser):
            wait_time = constant(0.1)
            tasks = [Once]

        class Fast(Logging, FastHttpUser):
            wait_time = constant_throughput(5)
            @task
            def page(self):
                self.client.get("/page", name="page")

        class Own(Logging, OpenHttpUser):
            wait_time = constant(0.2)
            @task
            def own(self):
                assert self.client.get("/own", name="own").ok
                self.client.get("/own-too", name="own too")
                raise ValueError("wrong")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            if path == "/slow":
                time.sleep(0.3)
            wire.send(OK)

    segments = (
        Segment(0, 1, 3, 3),
        Segment(1, 2, 3, 9),
        Segment(2, 3, 9, 9),
        Segment(3, 4, 3, 3),
        Segment(4, 4.6, 0, 0),
    )
    rows, result, server, _ = run(tmp_path, locustfile, script=script, segments=segments, users=9, model="closed")
    data = rows.data
    assert (data["intended_ns"] == data["start_ns"]).all()
    assert set(rows.errors) == {"", "check"}
    assert set(rows.endpoints[rows.errors == "check"]) == {"own too"}
    assert sum(server.requests.values()) == len(data)
    assert result.health[-1].late == result.health[-1].dropped == 0
    assert validity_reasons([result], "baseline") == []
    logins = np.sort(rows.of("login").data["start_ns"]) / 1e9
    assert len(logins) == 9
    assert (logins[:3] < 0.5).all()
    # User k of the ramp comes when the planned number passes k - 1/2.
    assert np.median(logins[3:] - (1 + (np.arange(6) + 0.5) / 6)) < 0.1
    assert (logins[3:] >= 1.05).all()
    pages = rows.of("page").data["start_ns"] / 1e9
    assert 3 <= ((pages >= 0) & (pages < 1)).sum() <= 7
    assert 11 <= ((pages >= 2) & (pages < 3)).sum() <= 17
    assert 3 <= ((pages >= 3.1) & (pages < 4.0)).sum() <= 7
    # Those who leave finish what they are at: nothing is aborted, and a slow request ends after its user was dismissed.
    assert not (data["start_ns"] > 4.1e9).any()
    assert told.read_text().count("bye") == 9


def test_events_options_tags_and_fixed_numbers_of_users_work_as_in_locust(tmp_path):
    told = tmp_path / "told.jsonl"
    locustfile = f"""
        import json
        from locust import FastHttpUser, HttpUser, TaskSet, constant, events, tag, task
        from locust.runners import MasterRunner

        OUT = open({str(told)!r}, "a", buffering=1)

        def tell(*words):
            print(json.dumps(words), file=OUT)

        @events.init_command_line_parser.add_listener
        def options(parser):
            parser.add_argument("--greeting", default="nothing")

        @events.init.add_listener
        def init(environment, **_):
            tell("init", isinstance(environment.runner, MasterRunner), environment.parsed_options.greeting)

        @events.test_start.add_listener
        def start(environment, **_):
            tell("start", environment.host.startswith("http://127"), environment.parsed_options.num_users)

        @events.test_stop.add_listener
        def stop(environment, **_):
            tell("stop")

        @events.quitting.add_listener
        def quitting(environment, **_):
            tell("quitting")

        @events.request.add_listener
        def request(request_type, name, response_time, response_length, exception, context, url, start_time, **_):
            tell("request", request_type, name, response_length, str(exception or ""), context, url.startswith("http"))

        @events.user_error.add_listener
        def error(user_instance, exception, tb, **_):
            tell("error", str(exception), tb is not None)

        class Admin(HttpUser):
            fixed_count = 1
            @tag("wanted")
            @task
            def admin(self):
                with self.client.rename_request("admin"):
                    self.client.get("/admin?x=1")

        class Shopper(FastHttpUser):
            weight = 3
            def context(self):
                return {{"who": "shopper"}}
            @tag("wanted")
            @task
            class Set(TaskSet):
                @tag("unwanted")
                @task
                def never(self):
                    self.client.get("/never")
                @task(3)
                def checked(self):
                    with self.rest_call() as response:
                        response.js["total"]
                def rest_call(self):
                    return self.user.rest("POST", "/checked", name="checked", json={{}}, context={{"more": 1}})
                @task
                def on_purpose(self):
                    with self.client.get("/missing", name="missing", catch_response=True) as response:
                        if response.status_code == 404:
                            response.success()
            @task
            def untagged(self):
                self.client.get("/never")

        class Other(HttpUser):
            weight = 1
            @tag("unwanted", "wanted")
            @task
            def never(self):
                self.client.get("/never")

        class Unchosen(HttpUser):
            @task
            def never(self):
                self.client.get("/never")
    """

    def script(wire: Wire, server: Server) -> None:
        while True:
            _, path, _ = server.request(wire)
            wire.send(respond(404) if path == "/missing" else OK)

    options = "--tags wanted --exclude-tags unwanted --greeting 'good day' Admin Shopper Other"
    segments = steady(80, 2.0, quiet_s=0.4)
    rows, _, server, load = run(tmp_path, locustfile, script=script, segments=segments, users=10, options=options)
    assert sorted(rows.data["intended_ns"]) == planned_ns(load)
    assert {name: set(rows.of(name).errors) for name in set(rows.endpoints)} == {
        "admin": {""}, "checked": {"check"}, "missing": {""},
    }  # fmt: skip
    assert len(rows.of("admin").data) == pytest.approx(160 / 10, abs=14)
    assert len(rows.of("checked").data) > 1.5 * len(rows.of("missing").data)
    reports = [json.loads(line) for line in told.read_text().splitlines()]
    assert reports[0] == ["init", False, "good day"]
    assert reports[1] == ["start", True, 10]
    assert reports[-2:] == [["quitting"], ["stop"]]
    requests = Counter(json.dumps(report[1:3]) for report in reports if report[0] == "request")
    assert requests == Counter(json.dumps([method, name]) for name in rows.endpoints for method in [
        "POST" if name == "checked" else "GET"
    ])  # fmt: skip
    checked = next(report for report in reports if report[:3] == ["request", "POST", "checked"])
    assert checked[3] == 2
    assert "TypeError" in checked[4]  # `ok` is no JSON, so `js` is None
    assert checked[5:] == [{"who": "shopper", "more": 1}, True]
    assert "/never" not in server.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--users 5", r"`load.options`: `--users` is for the scenario to say"),
        ("--greting hi", r"`load.options`: unrecognized arguments: --greting"),
        ("Shoper", r"(?s)`load.options` names no user class `Shoper`.*Shopper"),
        ("--tags nothing", r"(?s)Shopper has no task.*tags"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, options, message):
    locustfile = """
        from locust import HttpUser, task
        class Shopper(HttpUser):
            @task
            def t(self): ...
    """
    load = make_load(tmp_path, locustfile, steady(1, 1), options=options)
    workers = LoadWorkers(make_specs(tmp_path, load, "http://127.0.0.1:9"), env=worker_env())
    workers.start()
    with pytest.raises(LoadError, match=message):
        workers.wait_ready(30)
    workers.wait(10)
