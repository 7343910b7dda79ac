import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import Counter
from shop.errors import Unavailable
from shop.flight import SingleFlight

PATIENT_S = 30.0


def flights(*, enabled=True, wait_s=PATIENT_S):
    coalesced = Counter("coalesced", "", registry=None)
    return SingleFlight("postgres", enabled=enabled, wait_s=wait_s, coalesced=coalesced), coalesced


def joined(coalesced, number):
    """Wait until so many have joined somebody else's fetch."""
    while coalesced._value.get() < number:
        threading.Event().wait(0.001)


class Fetch:
    """A fetch that is under way until it is let go, and counts its calls."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.calls = 0
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def __call__(self):
        self.calls += 1
        self.begun.set()
        assert self.let_go.wait(PATIENT_S)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_who_comes_while_a_fetch_is_under_way_gets_its_value():
    single, coalesced = flights()
    fetch = Fetch(b"lamp")
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(single.get, "k", fetch) for _ in range(5)]
        joined(coalesced, 4)
        fetch.let_go.set()
        assert [answer.result() for answer in answers] == [b"lamp"] * 5
    assert fetch.calls == 1


def test_who_comes_later_fetches_anew():
    single, coalesced = flights()
    assert [single.get("k", lambda: b"old"), single.get("k", lambda: b"new")] == [b"old", b"new"]
    assert coalesced._value.get() == 0


def test_another_key_is_another_flight():
    single, _ = flights()
    fetch = Fetch(b"lamp")
    with ThreadPoolExecutor(1) as pool:
        lamp = pool.submit(single.get, "lamp", fetch)
        assert fetch.begun.wait(PATIENT_S)
        assert single.get("chair", lambda: b"chair") == b"chair"
        fetch.let_go.set()
        assert lamp.result() == b"lamp"


def test_a_failure_is_everybodys_and_the_next_one_tries_again():
    single, coalesced = flights()
    fetch = Fetch(Unavailable("postgres", "test"))
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(single.get, "k", fetch) for _ in range(3)]
        joined(coalesced, 2)
        fetch.let_go.set()
        for answer in answers:
            with pytest.raises(Unavailable, match="test"):
                answer.result()
    assert single.get("k", lambda: b"lamp") == b"lamp"


def test_waits_no_longer_than_it_may():
    single, _ = flights(wait_s=0.01)
    fetch = Fetch(b"lamp")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(single.get, "k", fetch)
        assert fetch.begun.wait(PATIENT_S)
        with pytest.raises(Unavailable, match="postgres: somebody else"):
            single.get("k", lambda: pytest.fail("fetched beside the first one"))
        fetch.let_go.set()
        assert first.result() == b"lamp"


def test_without_it_everybody_fetches():
    single, coalesced = flights(enabled=False)
    fetch = Fetch(b"lamp")
    fetch.let_go.set()
    both = threading.Barrier(2)

    def meeting():
        both.wait(PATIENT_S)
        return fetch()

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(single.get, "k", meeting) for _ in range(2)]
        assert [answer.result() for answer in answers] == [b"lamp"] * 2
    assert (fetch.calls, coalesced._value.get()) == (2, 0)
