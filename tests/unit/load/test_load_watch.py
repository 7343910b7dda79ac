"""What abort conditions are told while load is driven."""

from harness.clock import NS
from harness.load.spec import Seen
from harness.load.watch import Watch, watches

MS = NS // 1000


def _one(condition: str) -> Watch:
    (watch,) = watches([condition], timeout_s=2.0, interval_s=0.5)
    return watch


def test_counts_are_of_the_endpoint_and_since_the_start() -> None:
    watch = _one("error-rate of checkout > 10% for 5s")
    for endpoint, failed in (("checkout", True), ("catalog", True), ("checkout", False)):
        watch.add(endpoint, MS, failed)
    assert watch.read() == Seen(2, 1, None)
    watch.add("checkout", MS, True)
    assert watch.read() == Seen(3, 2, None)


def test_a_quantile_is_of_the_last_second() -> None:
    watch = _one("p50 > 1s for 5s")
    seen = []
    for took_ms in (10, 100, 100, 100):
        watch.add("any", took_ms * MS, False)
        seen.append(watch.read().quantile_ms)
    assert seen[0] is not None
    assert abs(seen[0] - 10) < 0.3
    assert seen[3] is not None
    assert abs(seen[3] - 100) < 3
    assert watch.read().quantile_ms is not None
    assert watch.read().quantile_ms is None, "two turns of half a second without any"


def test_a_failure_counts_as_the_timeout_at_least_or_not_at_all() -> None:
    watch, successes = _one("p50 of ping > 1s for 5s"), _one("p50 of successes of ping > 1s for 5s")
    for one in (watch, successes):
        one.add("ping", 5 * MS, True)
        one.add("ping", 7 * MS, True)
        one.add("ping", 10 * MS, False)
    assert abs((watch.read().quantile_ms or 0) - 2000) < 40
    assert abs((successes.read().quantile_ms or 0) - 10) < 0.3
