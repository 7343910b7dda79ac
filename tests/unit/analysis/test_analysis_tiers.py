from types import MappingProxyType

import numpy as np

from harness.analysis.tiers import read_loads, waiting
from harness.record.reader import Telemetry

NS = 10**9


def telemetry(**series):
    """`app_1__pool_size=[...]`: one reading a second of `app-1` in the arm `fault-1`."""
    found = {}
    for name, values in series.items():
        component, metric = name.replace("app_", "app-").split("__")
        found["fault-1", component, metric] = (np.arange(len(values)) * NS, np.array(values, dtype=float))
    return Telemetry(MappingProxyType(found))


def test_replicas_are_one_tier_and_the_limit_is_the_latest_reading():
    loads = read_loads(
        telemetry(app_1__pool_in_use=[1, 5], app_1__pool_size=[5, 10], app_2__pool_in_use=[0, 0], app_2__pool_size=[5]),
        "fault-1",
    )
    assert list(loads) == ["app connection pool"]
    assert loads["app connection pool"].share.tolist() == [0.0, 0.2, 0.0, 0.5]
    assert loads["app connection pool"].typical(NS, 2 * NS) == 0.25


def test_full_lasts_two_seconds():
    load = read_loads(telemetry(app_1__workers_busy=[0, 16, 0, 16, 16, 16], app_1__workers_limit=[16]), "fault-1")[
        "app workers"
    ]
    assert load.full_from(0, 10 * NS) == 3 * NS
    assert load.full_from(0, 4 * NS) is None


def test_use_without_a_limit_is_no_load():
    assert read_loads(telemetry(app_1__workers_busy=[3]), "fault-1") == {}


def test_waiting_sums_the_last_readings_of_queues_and_workers():
    record = telemetry(app_1__queue_length=[1, 40], app_1__workers_busy=[2, 16], app_2__workers_busy=[8])
    assert waiting(record, "fault-1", 1 * NS) == 64
    assert waiting(record, "baseline-1", 1 * NS) is None
