"""What was planned is what a real load worker does: a step, a sine and a trace on the record of real requests."""

import textwrap

import numpy as np
import pytest
from load_servers import Server, Wire, drive, planned_ns

from harness.errors import LoadError
from harness.load.arrivals import arrivals_of, step
from harness.plan import Load
from harness.shapes import Segment, Wave
from harness.traces import Replay

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STEP_S = 2.0
LOCUSTFILE = """
    from locust import task
    from harness.load.user import OpenHttpUser

    class Shopper(OpenHttpUser):
        @task
        def catalog(self):
            self.client.get("/catalog", name="catalog")
"""


def good(wire: Wire, server: Server) -> None:
    while True:
        server.request(wire)
        wire.send(OK)


def load_of(tmp_path, segments, **pieces) -> Load:
    file = tmp_path / "users.py"
    file.write_text(textwrap.dedent(LOCUSTFILE))
    return Load(str(file), "uniform", segments, 1, 40, 2.0, 1.0, **pieces)


def test_a_spike_starts_within_5_ms_of_its_instant(tmp_path):
    """+30 % at 2 s, on the record: the plan changes its pace there, and requests start when they are meant to.

    What was intended is exact, always. When it really started is up to the machine too: one that stands still for a
    moment delays the requests of that moment. So p99 of three passes at most is asked, the best of them counts.
    """
    load = load_of(tmp_path, step(200, 0.3, at_s=STEP_S, for_s=4.0).segments)
    p99_s = []
    while len(p99_s) < 3 and min(p99_s, default=1.0) >= 0.005:
        folder = tmp_path / f"pass-{len(p99_s)}"
        folder.mkdir()
        with Server(good) as server:
            _, [rows] = drive(folder, load, server.host)
        intended_ns, start_ns = rows.data["intended_ns"], rows.data["start_ns"]
        assert sorted(intended_ns.tolist()) == planned_ns(load)
        # Evenly spaced, so the gaps tell the pace: it changes from one gap to the next, at the planned instant.
        instants_s = np.sort(intended_ns) / 1e9
        slow, fast = instants_s[instants_s < STEP_S], instants_s[instants_s >= STEP_S]
        assert np.allclose(np.diff(slow), 1 / 200, atol=1e-6)
        assert np.allclose(np.diff(fast), 1 / 260, atol=1e-6)
        assert (len(slow), len(fast)) == (400, 520)
        assert STEP_S - slow[-1] <= 1 / 200
        assert fast[0] - STEP_S <= 1 / 260

        lag_s = (start_ns - intended_ns) / 1e9
        assert lag_s.min() >= 0
        around = np.abs(intended_ns / 1e9 - STEP_S) < 1.0
        assert around.sum() == 200 + 260
        p99_s.append(float(np.quantile(lag_s[around], 0.99)))
    assert min(p99_s) < 0.005, f"p99 of the lag in each pass: {p99_s}"


def test_a_sine_and_a_trace_are_driven_as_planned(tmp_path):
    trace = tmp_path / "friday.csv"
    trace.write_text("time\n" + "".join(f"{1.8e9 + k * 0.01 + (k % 3) * 0.001:.6f}\n" for k in range(100)))
    planned = Replay(1.0, 2.0, str(trace))
    load = load_of(
        tmp_path,
        (Segment(2.0, 2.5, 0, 0),),
        waves=(Wave(0.0, 1.0, 200, 200, 0.5),),
        traces=(Replay(1.0, 2.0, str(trace), sha256=planned.read().sha256),),
        workers=2,
    )
    with Server(good) as server:
        results, both = drive(tmp_path, load, server.host)
    whole = planned_ns(load)
    assert [result.arrivals for result in results] == [len(whole[0::2]), len(whole[1::2])]
    for worker, rows in enumerate(both):
        assert np.sort(rows.data["intended_ns"]).tolist() == whole[worker::2]
    assert len(whole) == 200 + 100
    assert [round(t - 1, 6) for t in arrivals_of(load) if t >= 1] == [
        round(k * 0.01 + (k % 3) * 0.001, 6) for k in range(100)
    ]
    assert server.requests["/catalog"] == 300


def test_a_trace_that_changed_since_the_plan_is_no_load(tmp_path):
    trace = tmp_path / "friday.csv"
    trace.write_text("0\n0.5\n")
    load = load_of(tmp_path, (), traces=(Replay(0.0, 1.0, str(trace), sha256="0" * 64),))
    with Server(good) as server, pytest.raises(LoadError, match=r"friday\.csv: has changed since the plan was made"):
        drive(tmp_path, load, server.host)
