"""Abort conditions hold for as long as they say, on a window of one second."""

from harness.abort import AbortWatch, Counts


def _feed(watch: AbortWatch, *, share: float, start_s: float, end_s: float, finished: int = 0) -> tuple[str, float]:
    t_s = start_s
    failed = 0.0
    while t_s < end_s:
        finished += 50
        failed += 50 * share
        if breach := watch.feed(Counts(t_s, finished, int(failed), None)):
            return breach, t_s
        t_s += 0.5
    return "", t_s


def test_a_breach_needs_its_time() -> None:
    breach, at_s = _feed(AbortWatch(["error-rate > 50% for 2s"]), share=0.8, start_s=0.0, end_s=10.0)
    assert breach.startswith("error-rate > 50% for 2s")
    assert at_s == 2.5


def test_below_the_bound_nothing_happens() -> None:
    assert _feed(AbortWatch(["error-rate > 50% for 1s"]), share=0.4, start_s=0.0, end_s=10.0)[0] == ""


def test_a_pause_starts_the_time_anew() -> None:
    watch = AbortWatch(["error-rate > 50% for 2s"])
    counts = [(0.0, 0, 0), (0.5, 50, 50), (1.0, 100, 100), (1.5, 150, 100), (2.0, 250, 100), (2.5, 300, 150)]
    assert not any(watch.feed(Counts(t, n, bad, None)) for t, n, bad in counts)


def test_nothing_finished_says_nothing() -> None:
    watch = AbortWatch(["error-rate > 1% for 1s"])
    assert not any(watch.feed(Counts(float(t), 0, 0, None)) for t in range(5))


def test_response_time() -> None:
    watch = AbortWatch(["p95 > 100ms for 1s"])
    assert watch.feed(Counts(0.0, 10, 0, 0.3)) == ""
    assert watch.feed(Counts(1.0, 20, 0, 0.3)) != ""
