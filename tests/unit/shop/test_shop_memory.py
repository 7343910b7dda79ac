import threading

import psutil
from shop.memory import Recycler, held_bytes


def test_a_replica_holds_what_its_file_says_and_else_what_the_process_does(monkeypatch, tmp_path):
    monkeypatch.delenv("MEMORY_CURRENT", raising=False)
    own = psutil.Process().memory_info().rss
    assert 0.5 * own < held_bytes() < 2 * own
    monkeypatch.setenv("MEMORY_CURRENT", str(tmp_path / "memory"))
    assert 0.5 * own < held_bytes() < 2 * own, "nobody has written it yet"
    (tmp_path / "memory").write_text("123456789\n")
    assert held_bytes() == 123_456_789


def test_a_worker_that_holds_too_much_leaves():
    left = threading.Event()
    held = iter([99e6, 100e6, 101e6])
    Recycler(100, left.set, lambda: next(held)).start()
    assert left.wait(10)
    assert next(held, None) is None, "it looked three times"


def test_a_worker_that_holds_no_more_than_it_may_stays():
    looked, left = threading.Semaphore(0), threading.Event()

    def held():
        looked.release()
        return 100_000_000

    recycler = Recycler(100, left.set, held)
    recycler.start()
    assert looked.acquire(timeout=10)
    assert looked.acquire(timeout=10)
    recycler.stop()
    assert not left.is_set()
