"""Abort conditions hold for as long as they say, on a window of one second."""

from harness.abort import AbortWatch
from harness.load.spec import Seen


def _feed(watch: AbortWatch, *, share: float, start_s: float, end_s: float, finished: int = 0) -> tuple[str, float]:
    t_s = start_s
    failed = 0.0
    while t_s < end_s:
        finished += 50
        failed += 50 * share
        if breach := watch.feed(t_s, [Seen(finished, int(failed), None)]):
            return breach, t_s
        t_s += 0.5
    return "", t_s


def test_a_breach_needs_its_time_and_is_told_in_the_unit_of_the_condition() -> None:
    breach, at_s = _feed(AbortWatch(["error-rate > 50% for 2s"]), share=0.8, start_s=0.0, end_s=10.0)
    assert breach == "error-rate > 50% for 2s: it was 80% at 2.5 s"
    assert at_s == 2.5


def test_below_the_bound_nothing_happens() -> None:
    assert _feed(AbortWatch(["error-rate > 50% for 1s"]), share=0.4, start_s=0.0, end_s=10.0)[0] == ""


def test_a_pause_starts_the_time_anew() -> None:
    watch = AbortWatch(["error-rate > 50% for 2s"])
    counts = [(0.0, 0, 0), (0.5, 50, 50), (1.0, 100, 100), (1.5, 150, 100), (2.0, 250, 100), (2.5, 300, 150)]
    assert not any(watch.feed(t, [Seen(n, bad, None)]) for t, n, bad in counts)


def test_nothing_finished_says_nothing() -> None:
    watch = AbortWatch(["error-rate > 1% for 1s"])
    assert not any(watch.feed(float(t), [Seen(0, 0, None)]) for t in range(5))


def test_response_time() -> None:
    watch = AbortWatch(["p95 > 100ms for 1s"])
    assert watch.feed(0.0, [Seen(10, 0, 300.0)]) == ""
    assert watch.feed(1.0, [Seen(20, 0, 1234.0)]) == "p95 > 100ms for 1s: it was 1230ms at 1.0 s"


def test_each_condition_has_its_own_arrivals() -> None:
    watch = AbortWatch(["p95 > 100ms for 1s", "error-rate of checkout > 10% for 1s"])
    told = [watch.feed(t_s, [Seen(n, n, 20.0), Seen(n, n // 2, None)]) for t_s, n in [(0, 10), (0.5, 20), (1.5, 40)]]
    assert told == ["", "", "error-rate of checkout > 10% for 1s: it was 50% at 1.5 s"]
