"""What components, limits, calls and faults do, one at a time, with times that are no matter of chance."""

import numpy as np
import pytest

from harness.plan import Load, Retry, Segment
from harness.record.schema import ERRORS
from harness.simulate.effects import Capacity, Down, Latency
from harness.simulate.experiment import Trial, simulate
from harness.simulate.model import (
    Breaker,
    Cache,
    Cached,
    Call,
    Component,
    Constant,
    Edge,
    Hold,
    Model,
    ModelError,
    Pool,
    Work,
)

MS = 10**6
NS = 10**9
ALONE = [("fault-1", "fault", 1)]


def run(model: Model, *effects, rate=10.0, seconds=10.0, retries=None, timeout_s=1.0, users=1000, seed=1, mix=None):
    """The one arm of a trial with evenly spaced arrivals at 50 ms, 150 ms, ... (at the default rate)."""
    load = Load("", "uniform", (Segment(0, seconds, rate, rate),), 0, users, timeout_s, timeout_s, retries or {})
    mix = mix or dict.fromkeys(model.endpoints, 1.0)
    record = simulate(Trial(model, load, mix, effects, arms=ALONE), seed)
    return record, record.arm("fault-1")


def shop(steps, *, edges=None, caches=None, **app) -> Model:
    components = {"app": Component(**app), "db": Component(), "cache": Component()}
    return Model("app", components, {"get": steps}, edges or {}, caches or {})


def took_ms(samples) -> np.ndarray:
    return (samples.end_ns - samples.start_ns) / MS


def errors(samples) -> list[str]:
    return [ERRORS[code] for code in samples.error]


def gauge(record, component: str, metric: str) -> np.ndarray:
    return record.telemetry.series("fault-1", component, metric)[1]


def test_a_calm_request_takes_the_time_of_its_steps_and_trips():
    steps = (Work(Constant(0.002)), Call("db", (Work(Constant(0.08)),), trips=3))
    edges = {"app->db": Edge(trip_s=0.001), "client->app": Edge(trip_s=0.0005)}
    _, samples = run(shop(steps, edges=edges))
    assert len(samples) == 100
    # The last one is on its way when the arm ends.
    assert errors(samples) == [""] * 99 + ["aborted"]
    assert took_ms(samples)[:-1] == pytest.approx(2 + 80 + 3 * 1 + 0.5)
    assert took_ms(samples)[-1] == pytest.approx(50)


def test_latency_is_felt_by_every_round_trip_and_what_is_on_its_way_at_its_end_arrives_at_once():
    steps = (Call("db", (Work(Constant(0.08)),), trips=3),)
    _, samples = run(shop(steps), Latency("app->db", 2.0, 4.0, 0.15))
    inside = (samples.intended_ns >= 2 * NS) & (samples.intended_ns < 3.4 * NS)
    assert took_ms(samples)[inside] == pytest.approx(80 + 3 * 150)
    late = samples.intended_ns == round(3.65 * NS)
    # Two round trips until 3.95 s, work until 4.03 s, and the last one without latency.
    assert took_ms(samples)[late] == pytest.approx(300 + 80)
    assert took_ms(samples)[(samples.intended_ns > 4 * NS) & (samples.error == 0)] == pytest.approx(80)


def test_a_pool_held_for_three_late_round_trips_carries_19_a_second():
    steps = (Hold("database", (Call("db", (Work(Constant(0.08)),), trips=3),)),)
    model = shop(steps, pools={"database": Pool(5)}, replicas=2)
    _, samples = run(model, Latency("app->db", 0.0, 40.0, 0.15), rate=60.0, seconds=40.0, timeout_s=30.0)
    done = samples.end_ns[samples.error == 0]
    rate = ((done > 5 * NS) & (done < 35 * NS)).sum() / 30
    assert rate == pytest.approx(10 / (0.08 + 3 * 0.15), rel=0.03)


def test_jitter_varies_the_latency_both_ways():
    _, samples = run(shop((Call("db"),)), Latency("app->db", 0.0, 10.0, 0.1, 0.05), seconds=9.0)
    assert took_ms(samples).min() >= 50
    assert took_ms(samples).max() <= 150
    assert took_ms(samples).mean() == pytest.approx(100, abs=15)


def test_work_that_nobody_waits_for_any_more_is_done_all_the_same():
    record, samples = run(shop((Work(Constant(1.5)),), workers=1), rate=0.5, seconds=8.5)
    assert errors(samples) == ["timeout"] * 4
    assert took_ms(samples) == pytest.approx(1000)
    assert gauge(record, "app-1", "requests_total")[-1] == 3
    assert gauge(record, "app-1", "workers_busy").max() == 1


def test_immediate_retries_follow_at_once_and_are_linked():
    _, samples = run(shop((Work(Constant(2.0)),)), rate=0.2, retries={"get": Retry("immediate", 2)})
    assert samples.attempt.tolist() == [0, 1, 2, 0, 1, 2]
    assert samples.first_seq.tolist() == [0, 0, 0, 3, 3, 3]
    assert (samples.intended_ns[1:3] == samples.end_ns[:2]).all()
    assert errors(samples) == ["timeout"] * 5 + ["aborted"]


def test_backoff_waits_up_to_its_doubled_base():
    _, samples = run(
        shop((Work(Constant(9.0)),)), seconds=60.0, retries={"get": Retry("exponential", 3, base_s=0.2, cap_s=0.5)}
    )
    retried = (samples.attempt > 0) & (samples.intended_ns < 50 * NS)
    ends = {
        (first, attempt): end
        for first, attempt, end in zip(samples.first_seq, samples.attempt, samples.end_ns, strict=True)
    }
    waits_s = {1: [], 2: [], 3: []}
    for first, attempt, wanted in zip(
        samples.first_seq[retried], samples.attempt[retried], samples.intended_ns[retried], strict=True
    ):
        waits_s[attempt].append((wanted - ends[first, attempt - 1]) / NS)
    assert [round(max(waits_s[k]), 1) for k in (1, 2, 3)] == [0.2, 0.4, 0.5]
    assert np.mean(waits_s[1]) == pytest.approx(0.1, abs=0.01)


def test_a_budget_bounds_retries_to_its_burst_and_share():
    _, samples = run(
        shop((Work(Constant(9.0)),)), rate=20.0, seconds=60.0, retries={"get": Retry("immediate", 3, budget=0.1)}
    )
    assert (samples.attempt > 0).sum() == pytest.approx(10 + 0.1 * 20 * 60, abs=5)


def test_who_waits_too_long_for_a_place_is_refused():
    model = shop((Hold("slots", (Work(Constant(0.5)),)),), pools={"slots": Pool(1, wait_s=0.3)})
    record, samples = run(model)
    assert set(errors(samples)) == {"", "http_5xx", "aborted"}
    refused = samples.status == 503
    assert took_ms(samples)[refused] == pytest.approx(300)
    assert gauge(record, "app-1", "pool_waiting").max() == 3
    assert gauge(record, "app-1", "pool_wait_seconds")[-1] > 0


def test_a_bulkhead_refuses_at_once_and_leaves_the_workers_to_others():
    steps = {"slow": (Hold("bulkhead", (Work(Constant(0.9)),)),), "quick": (Work(Constant(0.001)),)}
    app = Component(workers=2, pools={"bulkhead": Pool(1, wait_s=0)})
    _, samples = run(Model("app", {"app": app}, steps), rate=20.0, seed=4)
    quick = samples.endpoint == samples.endpoint_names.index("quick")
    assert took_ms(samples)[quick].max() < 2
    assert took_ms(samples)[samples.status == 503] == pytest.approx(0)


def test_a_request_that_has_waited_too_long_for_its_worker_is_shed():
    _, samples = run(shop((Work(Constant(0.3)),), workers=1, shed_after_s=0.2), rate=20.0)
    shed = samples.status == 503
    assert shed.sum() > 100
    assert took_ms(samples)[shed].min() > 200


def test_a_full_queue_refuses():
    _, samples = run(shop((Work(Constant(0.5)),), workers=1, queue=0))
    assert took_ms(samples)[samples.status == 503] == pytest.approx(0)
    # Served are those at 0.05 s, 0.65 s (the one at 0.55 s comes as the first one leaves), ...
    assert (samples.status == 200).sum() == 16


def test_what_is_down_refuses_connections_and_loses_what_it_was_doing():
    steps = (Call("db", (Work(Constant(0.4)),)),)
    record, samples = run(shop(steps), Down("db", 3.0, 5.0))
    down = (samples.intended_ns > 3 * NS) & (samples.intended_ns < 5 * NS)
    assert took_ms(samples)[down] == pytest.approx(0)
    lost = (samples.intended_ns > 2.6 * NS) & (samples.intended_ns < 3 * NS)
    assert (samples.end_ns[lost] == 3 * NS).all()
    assert set(samples.status[lost | down]) == {503}
    assert set(samples.status[~(lost | down) & (samples.intended_ns < 9 * NS)]) == {200}
    assert [event.kind for event in record.events if event.kind.startswith("fault")] == [
        "fault.requested",
        "fault.active",
        "fault.clear-requested",
        "fault.clear",
    ]


def test_an_entry_that_is_down_is_a_connect_error_for_clients_and_a_reset_for_those_inside():
    _, samples = run(shop((Work(Constant(0.2)),)), Down("app", 3.0, 5.0))
    assert errors(samples).count("connect") == 20
    assert errors(samples).count("reset") == 2


def test_a_stall_lets_nothing_begin():
    record, samples = run(shop((Work(Constant(0.01)),), workers=4), Capacity("app", 2.0, 2.5, factor=0.0))
    stalled = (samples.intended_ns >= 2 * NS) & (samples.intended_ns < 2.5 * NS)
    # Four begin when it is over, the fifth when they have ended.
    assert (samples.end_ns[stalled] / MS).tolist() == [2510, 2510, 2510, 2510, 2520]
    assert gauge(record, "app-1", "workers_limit").min() == 0


def test_a_tolerated_call_may_fail():
    _, samples = run(shop((Call("cache", tolerated=True), Work(Constant(0.01)))), Down("cache", 2.0, 8.0))
    assert set(samples.status) == {200}


def test_a_caller_gives_up_retries_and_breaks_its_circuit():
    edges = {"app->db": Edge(timeout_s=0.1, retries=1, breaker=Breaker(4, 2.0))}
    record, samples = run(shop((Call("db"),), edges=edges), Latency("app->db", 2.0, 6.0, 0.5), rate=10.0)
    durations = np.round(took_ms(samples)).astype(int)
    # Two arrivals with two attempts each open it; then everything is refused at once, but for a trial every 2 s.
    assert durations[20:22].tolist() == [200, 200]
    assert durations[24:40].tolist() == [0] * 16
    assert set(durations[40:60]) == {0, 100}
    assert set(samples.status[samples.intended_ns > 7 * NS]) == {200}
    assert gauge(record, "app-1", "breaker_open").max() == 1
    # 20 calm ones, 4 that open the circuit, few trials, and the calm ones at the end.
    assert gauge(record, "db", "attempts_total:app-1")[-1] < 70


def test_a_cache_is_filled_by_its_misses_and_is_empty_after_it_was_down():
    caches = {"values": Cache("cache", keys=5, ttl_s=100.0)}
    miss = (Call("db", (Work(Constant(0.05)),)),)
    _, samples = run(
        shop((Cached("values", miss, fallback=True),), caches=caches), Down("cache", 5.0, 6.0), seconds=12.0
    )
    slow = took_ms(samples) > 10
    at_s = samples.intended_ns / NS
    assert slow[at_s < 2].any()
    assert not slow[(at_s > 4) & (at_s < 5)].any()
    assert slow[(at_s > 5) & (at_s < 6)].all()
    assert slow[(at_s > 6) & (at_s < 8)].any()
    assert set(samples.status[at_s < 11]) == {200}


def test_a_cache_without_fallback_fails_with_its_server():
    caches = {"values": Cache("cache", keys=1)}
    _, samples = run(shop((Cached("values", (Call("db"),)),), caches=caches), Down("cache", 5.0, 6.0))
    down = (samples.intended_ns > 5 * NS) & (samples.intended_ns < 6 * NS)
    assert set(samples.status[down]) == {503}


def test_a_stampede_reaches_the_database_with_all_that_miss_meanwhile():
    caches = {"values": Cache("cache", keys=1, ttl_s=100.0)}
    miss = (Call("db", (Work(Constant(0.5)),)),)
    record, _ = run(shop((Cached("values", miss),), caches=caches), rate=100.0)
    # Everything that comes in the half second until the first one has filled the cache.
    assert gauge(record, "db", "requests_total")[-1] == pytest.approx(50, abs=2)


def test_arrivals_that_find_no_free_user_are_dropped_when_their_patience_is_over():
    _, samples = run(shop((Work(Constant(5.0)),)), timeout_s=2.0, users=3)
    dropped = samples.error == ERRORS.index("dropped")
    assert dropped.sum() > 50
    assert ((samples.end_ns - samples.intended_ns)[dropped] == 2 * NS).all()
    assert (samples.start_ns == samples.end_ns)[dropped].all()


@pytest.mark.parametrize("balance", ["round-robin", "random", "least-busy", "connection"])
def test_every_way_to_balance_uses_all_replicas(balance):
    model = shop((Work(Constant(0.1)),), replicas=4, workers=8, balance=balance)
    record, _ = run(model, rate=100.0, users=40)
    counts = [gauge(record, f"app-{n}", "requests_total")[-1] for n in (1, 2, 3, 4)]
    assert sum(counts) == pytest.approx(1000, abs=20)
    assert min(counts) > 100


def test_every_arrival_is_a_row_and_rows_obey_the_record(tmp_path):
    record, samples = run(shop((Work(Constant(1.3)),), workers=3), rate=50.0, retries={"get": Retry("immediate", 3)})
    assert (samples.attempt == 0).sum() == 500
    assert np.array_equal(samples.seq, np.arange(len(samples)))
    assert (samples.first_seq <= samples.seq).all()
    assert (samples.attempt[samples.first_seq] == 0).all()
    assert (samples.end_ns >= samples.start_ns).all()
    assert (samples.start_ns >= samples.intended_ns).all()
    assert record.info.arms[0].rows == len(samples)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: shop((Call("dbb"),)), "no component `dbb`"),
        (lambda: shop((Hold("pool", ()),)), "no pool of app `pool`"),
        (lambda: shop((Cached("values", ()),)), "no cache `values`"),
        (lambda: shop((), replicas=0), "one replica"),
        (lambda: shop((), workers=0), "one worker"),
        (lambda: shop((), edges={"app": Edge()}), "source->destination"),
        (lambda: shop((Work(Constant(-1.0)),)), "can't be -1"),
        (lambda: run(shop(()), Latency("app->db", 0, 1, 1)), "nothing is called over the edge"),
        (lambda: run(shop(()), Capacity("db", 0, 1, 0)), "no limit of workers"),
        (lambda: run(shop(()), Down("dbb", 0, 1)), "no component `dbb`"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(make, words):
    with pytest.raises(ModelError, match=words):
        make()
