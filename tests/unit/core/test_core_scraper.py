"""What can't be read is missing from the record, and nothing else is."""

from harness.clock import now_ns
from harness.probes import wait_for
from harness.telemetry.scraper import Scraper
from harness.telemetry.sources import Reading, Source, _parse


def test_a_page_that_is_none_of_metrics_ends_no_telemetry() -> None:
    pages = ["<!doctype html>", "up 1\n"]
    seen: list[str] = []

    def read() -> list[Reading]:
        return list(_parse("app", pages.pop(0) if len(pages) > 1 else pages[0]))

    scraper = Scraper([Source("app", read, period_s=0.01)], lambda _ns, _component, metric, _value: seen.append(metric))
    scraper.start(now_ns())
    try:
        assert wait_for(lambda: "up" in seen, timeout_s=2)
    finally:
        scraper.stop()
