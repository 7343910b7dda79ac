"""How long damage must be watched: queues that grow, shrink or stay, and records without any."""

import pytest
from record_builder import build_record

from harness.analysis.analyse import analyse
from harness.record.reader import read

DOWN = {"seconds": 50, "rate": 100, "fault_window": (15.0, 20.0), "fault_error": 1.0, "recover": False}
FOREVER = {"endpoints": ("checkout",), "dependencies": {"checkout": ["app", "redis"]}}


def queue(length):
    """Readings of the fault arm's queue, one a second, by a function of the seconds since the clear."""
    for t in range(51):
        yield "fault-1", float(t), "app-1", "queue_length", float(length(t - 20)) if t >= 20 else 0.0
    for arm in ("baseline-1", "fault-1"):
        for t in range(51):
            yield arm, float(t), "app-1", "workers_busy", 5.0
            yield arm, float(t), "app-1", "workers_limit", 10.0


@pytest.mark.parametrize(
    ("length", "klass", "said"),
    [
        (lambda t: 500 + 50 * t, "metastable", "Still down 30 s"),
        (lambda t: 5000 - 50 * t, "contained", "the queues were getting shorter"),
        # Twice 500 requests at 200/s - 100/s, and twice 5000.
        (lambda t: 500, "metastable", "Still down 30 s"),
        (lambda t: 5000, "contained", "which takes 100 s"),
    ],
)
def test_a_queue_tells_whether_it_will_ever_end(tmp_path, length, klass, said):
    folder = build_record(tmp_path / "run", telemetry=queue(length), **DOWN, **FOREVER)
    cascade = analyse(read(folder)).cascade
    assert (cascade.klass, said in cascade.sentence) == (klass, True)


@pytest.mark.parametrize(("clear", "klass"), [(20.0, "metastable"), (24.0, "contained")])
def test_without_telemetry_four_times_the_fault_must_be_watched(tmp_path, clear, klass):
    down = {**DOWN, **FOREVER, "fault_window": (15.0, clear)}
    cascade = analyse(read(build_record(tmp_path / "run", **down))).cascade
    assert cascade.klass == klass
