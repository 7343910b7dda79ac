"""C1 over tiers and C2 over tiers, from the counters of a record."""

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.analysis.paths import most_attempts, tier_has_path
from harness.record.reader import read

COMPONENTS = {"app": ("postgres", "auth"), "auth": ("auth-db",)}
STACK = {
    "seconds": 40,
    "rate": 100,
    "fault_window": (15.0, 25.0),
    "endpoints": ("checkout",),
    "dependencies": {"checkout": ["app", "postgres"]},
    "component_dependencies": COMPONENTS,
    "faulted": "postgres",
    "fault_error": 0.5,
}


def counter(component, metric, per_second, in_fault=None, resets_at=None):
    """Readings of a counter, one a second, that grows by `in_fault` a second between 15 and 25 s of the fault arm."""
    for arm in ("baseline-1", "fault-1"):
        total = 0.0
        for t in range(41):
            total = 0.0 if arm == "fault-1" and t == resets_at else total
            yield arm, float(t), component, metric, total
            total += in_fault if in_fault is not None and arm == "fault-1" and 15 <= t < 25 else per_second


def judged(tmp_path, *counters):
    readings = [reading for one in counters for reading in one]
    return analyse(read(build_record(tmp_path / "run", telemetry=readings, **STACK))).cascade


def evidence(cascade, criterion):
    return next(one for one in cascade.evidence if one.criterion == criterion)


def test_a_tier_that_does_not_need_what_was_broken_and_fails_is_spread(tmp_path):
    cascade = judged(tmp_path, counter("auth", "requests_total", 50), counter("auth", "errors_total", 0, 10))
    assert evidence(cascade, "C1").met is True
    assert "tier auth" in evidence(cascade, "C1").text
    assert cascade.klass == "cascading"
    assert "tier auth" in cascade.sentence


def test_a_tier_that_needs_it_or_does_not_fail_is_none(tmp_path):
    quiet = judged(tmp_path / "1", counter("auth", "requests_total", 50), counter("auth", "errors_total", 0))
    needing = judged(tmp_path / "2", counter("app-1", "requests_total", 50), counter("app-1", "errors_total", 0, 10))
    assert [evidence(one, "C1").met for one in (quiet, needing)] == [False, False]
    assert quiet.klass == "contained"


@pytest.mark.parametrize("resets_at", [None, 20])
def test_attempts_at_a_tier_are_counted_over_its_callers(tmp_path, resets_at):
    calls = [counter("auth", f"attempts_total:app-{n}", 25, 75, resets_at) for n in (1, 2)]
    cascade = judged(tmp_path, *calls)
    factor = next(one for one in cascade.factors if one.tier == "auth" and one.phase == "fault")
    assert (factor.caller, factor.endpoint) == ("app", "")
    assert factor.times == pytest.approx(3.0, rel=0.11)
    assert factor.interval.low < factor.times < factor.interval.high
    assert evidence(cascade, "C2").met is True
    assert "app to auth" in evidence(cascade, "C2").text


def test_the_ceiling_is_the_product_of_all_retries_on_the_way():
    retries = {"app->auth": 2, "auth->auth-db": 1}
    assert most_attempts("app", "auth", retries, COMPONENTS) == 3
    assert most_attempts("auth", "auth-db", retries, COMPONENTS) == 6
    assert most_attempts("app", "postgres", retries, COMPONENTS) == 1
    assert most_attempts("app", "auth", {}, COMPONENTS) is None
    assert most_attempts("b", "a", {"b->a": 1}, {"a": ("b",), "b": ("a",)}) == 2


@pytest.mark.parametrize(
    ("tier", "faulted", "path"),
    [
        ("app", "auth-db", True),
        ("auth", "auth-db", True),
        ("auth", "postgres", False),
        ("postgres", "postgres", True),
        ("app", "app-2", True),
        ("elsewhere", "postgres", None),
        ("app", "", None),
    ],
)
def test_a_tier_has_a_path_to_what_it_calls(tier, faulted, path):
    assert tier_has_path(tier, [faulted], {}, COMPONENTS) is path


def test_more_failed_than_was_touched(tmp_path):
    both = {
        **STACK,
        "endpoints": ("catalog", "checkout"),
        "dependencies": {"catalog": ["app"], "checkout": ["postgres"]},
    }
    folder = build_record(tmp_path / "all", **{**both, "fault_error": 0.9})
    assert evidence(analyse(read(folder)).cascade, "share").met is True
    folder = build_record(tmp_path / "one", **{**both, "fault_error": {"checkout": 0.9}})
    assert evidence(analyse(read(folder)).cascade, "share").met is False
    folder = build_record(tmp_path / "undeclared", **{**both, "dependencies": {"catalog": ["app"]}})
    assert evidence(analyse(read(folder)).cascade, "share").met is None
