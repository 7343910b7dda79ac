import json
from dataclasses import asdict, replace

import pytest

from harness.load.spec import Progress, Seen, WorkerSpec
from harness.plan import Load, Retry
from harness.shapes import Segment

LOAD = Load(
    "users.py",
    "poisson",
    (Segment(0, 10, 5, 5), Segment(10, 12, 5, 7)),
    7,
    10,
    1.0,
    0.5,
    {"checkout": Retry("exponential", 3, 0.2, 2.0, 0.1)},
    3,
)
SPEC = WorkerSpec("fault-1", 1, 3, "http://127.0.0.1:8000", "spool/w1.rows", LOAD, ("p95 > 1s for 2s",))
AUDITED = replace(SPEC, acknowledges=("checkout", "Idempotency-Key"))

CALM = Progress(1_000, 10, 8, 1, 2, 20.0, 30.0, 1.5, 5, 0, 2)


def test_a_spec_survives_its_file():
    assert WorkerSpec.from_json(SPEC.to_json()) == SPEC


def test_the_model_of_the_load_survives_too():
    assert WorkerSpec.from_json(AUDITED.to_json()) == AUDITED
    closed = replace(SPEC, load=replace(LOAD, model="closed"))
    assert WorkerSpec.from_json(closed.to_json()) == closed
    assert LOAD.model == "open"


def test_the_file_has_the_documented_keys():
    keys = {"arm", "worker", "workers", "host", "spool", "load", "abort_when", "acknowledges"}
    assert set(json.loads(SPEC.to_json())) == keys


def test_users_are_shared_out_over_the_workers():
    assert [replace(SPEC, worker=worker).users for worker in range(3)] == [4, 3, 3]
    assert replace(SPEC, load=replace(LOAD, users=1), worker=2).users == 1


def test_workers_are_named_from_one():
    assert SPEC.name == "load-worker-2"


def test_the_progress_of_several_workers_adds_up_counts_and_takes_the_worst_of_the_rest():
    one = CALM
    two = Progress(900, 12, 12, 0, 0, None, 60.0, 0.5, 7, 3, 1)
    assert Progress.total([one, two]) == Progress(900, 22, 20, 1, 2, 20.0, 60.0, 1.5, 12, 3, 3)
    assert Progress.total([two]).p95_ms is None


def test_what_several_workers_have_watched_is_one():
    one = replace(CALM, watched=(Seen(10, 1, None), Seen(5, 0, 30.0)))
    two = replace(CALM, watched=(Seen(20, 2, None), Seen(6, 6, None)))
    assert Progress.total([one, two]).watched == (Seen(30, 3, None), Seen(11, 6, 30.0))
    assert Progress.from_data(json.loads(json.dumps(asdict(one)))) == one


@pytest.mark.parametrize("text", ["{}", "[]", '{"load": {}}'])
def test_something_else_is_refused(text):
    with pytest.raises((KeyError, TypeError, ValueError)):
        WorkerSpec.from_json(text)
