"""C6: what shedding all load and bringing it back says about a failure that outlived its fault."""

from types import MappingProxyType

import numpy as np
import pytest

from harness.analysis.experiment import Shedding
from harness.analysis.hysteresis import Queues, judge_hysteresis, watch_queues
from harness.analysis.recovery import UNKNOWN, Healing
from harness.analysis.verdict import Interval, Recovery
from harness.record.reader import Telemetry

NS = 10**9
SHEDDING = Shedding(60 * NS, 100 * NS, 126 * NS)
WELL = Healing(Recovery(True, 2.0, False, {}, Interval(1.0, 3.0)), 25, 10)
ILL = Healing(Recovery(False, 25.0, True, {}, Interval(25.0, None)), 25, 0)
EMPTY, LEFT, HELD = Queues(12.0, 0.0, None), Queues(None, 300.0, 9.0), Queues(None, 16.0, None)


@pytest.mark.parametrize(
    ("down", "shedding", "queues", "returned", "met", "word", "said"),
    [
        (True, None, None, None, None, "not tested", "`hysteresis: on`"),
        (False, SHEDDING, EMPTY, WELL, False, "", "nothing to end"),
        (None, SHEDDING, EMPTY, WELL, None, "not tested", "whether the system was well"),
        (True, SHEDDING, EMPTY, WELL, True, "confirmed", "every queue was empty after 12 s"),
        (True, SHEDDING, None, WELL, True, "confirmed", "again after 2 s"),
        (True, SHEDDING, EMPTY, ILL, False, "stuck", "only a restart"),
        (True, SHEDDING, HELD, ILL, False, "stuck", "16 requests were left)"),
        (True, SHEDDING, LEFT, ILL, None, "undecided", "about 9 s longer"),
        (True, SHEDDING, None, ILL, None, "undecided", "not in the record"),
        (True, SHEDDING, EMPTY, Healing(UNKNOWN, 2, 0), None, "not tested", "after the load came back"),
    ],
)
def test_what_the_return_of_the_load_says(down, shedding, queues, returned, met, word, said):
    evidence, hysteresis = judge_hysteresis(down, shedding, queues, returned)
    assert (evidence.criterion, evidence.met, hysteresis) == ("C6", met, word)
    assert said in evidence.text


def telemetry(**queue):
    """Readings of the queue of `app-1`, one a second, by arm; all threads are idle."""
    found = {}
    for arm, values in queue.items():
        t_ns = np.arange(len(values)) * NS
        found[arm, "app-1", "queue_length"] = (t_ns, np.array(values, dtype=float))
        found[arm, "app-1", "workers_busy"] = (t_ns, np.zeros(len(values)))
    return Telemetry(MappingProxyType(found))


def test_a_queue_that_drains_is_empty_from_when_it_stays_so():
    shedding = Shedding(5 * NS, 20 * NS, 30 * NS)
    readings = telemetry(base=[0] * 30, hit=[9] * 5 + [8, 6, 4, 2, 0, 1] + [0] * 30)
    assert watch_queues(readings, ("base", "hit"), shedding) == Queues(6.0, 0.0, None)


def test_a_queue_that_is_still_draining_says_how_long_it_would_take():
    shedding = Shedding(5 * NS, 20 * NS, 30 * NS)
    draining = telemetry(base=[0] * 30, hit=[100 - 2 * at for at in range(30)])
    assert watch_queues(draining, ("base", "hit"), shedding) == Queues(None, 62.0, pytest.approx(31.0))
    held = telemetry(base=[0] * 30, hit=[16] * 30)
    assert watch_queues(held, ("base", "hit"), shedding) == Queues(None, 16.0, None)


def test_readings_that_end_before_the_load_comes_back_say_nothing():
    shedding = Shedding(5 * NS, 20 * NS, 30 * NS)
    assert watch_queues(telemetry(base=[0] * 30, hit=[0] * 8), ("base", "hit"), shedding) is None
    assert watch_queues(telemetry(base=[0] * 30), ("base", "hit"), shedding) is None
