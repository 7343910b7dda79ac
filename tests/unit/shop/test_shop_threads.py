import threading
import time

import pytest
from shop.threads import Threads


@pytest.fixture
def threads():
    pool = Threads(2)
    yield pool
    pool.shutdown()


def test_counts_who_works_and_who_waits(threads):
    started, gate = threading.Barrier(3), threading.Event()

    def work():
        if not gate.is_set():
            started.wait(10)
            gate.wait(10)

    futures = [threads.submit(work) for _ in range(5)]
    started.wait(10)
    assert (threads.limit, threads.busy, threads.waiting) == (2, 2, 3)
    gate.set()
    for future in futures:
        future.result(10)
    threads.shutdown()
    assert (threads.busy, threads.waiting) == (0, 0)


def test_a_failed_request_is_counted_out_again(threads):
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    threads.shutdown()
    assert threads.busy == 0


def test_tells_a_request_how_long_it_waited():
    pool = Threads(1)
    gate = threading.Event()
    pool.submit(gate.wait, 10)
    waited = pool.submit(lambda: pool.waited_s)
    time.sleep(0.05)
    gate.set()
    assert waited.result(10) >= 0.05
    assert pool.waited_s == 0.0
    pool.shutdown()
