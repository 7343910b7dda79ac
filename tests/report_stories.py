"""Two runs to draw reports from: a metastable collapse and a contained fault, out of a small simulated queue.

The verdicts are written by hand, so that reports are tested without the analysis.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record_builder import write_record

from harness.analysis.verdict import (
    Cascade,
    Comparison,
    EndpointImpact,
    EndpointSummary,
    Evidence,
    Factor,
    Failures,
    Impact,
    Interval,
    Onset,
    Recovery,
    Step,
    Validity,
    Verdict,
)
from harness.exits import Exit
from harness.record.reader import Record, read

NS = 1_000_000_000
SECONDS = 95.0
WINDOW = (40.0, 50.0)
PHASES = [("warm-up", 0.0, 10.0, 90.0), ("steady", 10.0, 30.0, 90.0), ("spike", 30.0, 60.0, 117.0)]
PHASES.append(("recovery", 60.0, SECONDS, 90.0))
NONE = Interval(None, None)


@dataclass
class Shop:
    """Ten connections held 80 ms, 530 ms while the fault is on; 32 threads shared with a catalogue that needs none."""

    retries: int
    most_waiting_s: float
    faulty: bool
    seed: int = 7

    def rows(self, rate: Callable[[float], float] | None = None) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Rows (chain, attempt, endpoint, intended, start, end, status, error) and gauges (t, metric, value)."""
        rng = random.Random(self.seed)
        events: list[tuple[float, int, int, str]] = []
        t, chain = 0.0, 0
        while True:
            t += rng.expovariate((rate or _rate)(t))
            if t >= SECONDS:
                break
            events.append((t, chain, 0, "checkout" if rng.random() < 2 / 3 else "catalog"))
            chain += 1
        heapq.heapify(events)
        free = [0.0] * 10
        rows: list[tuple[Any, ...]] = []
        gauges: list[tuple[Any, ...]] = []
        next_gauge = 0.5
        while events:
            t, chain, attempt, endpoint = heapq.heappop(events)
            wait = max(0.0, free[0] - t)
            hold = 0.53 if self.faulty and WINDOW[0] <= t + wait < WINDOW[1] else 0.08
            hold *= rng.gauss(1, 0.08)
            threads = max(0.0, wait - 22 * hold / 10)
            if t >= next_gauge:
                queued = wait / hold * 10
                busy = min(32.0, sum(f > t for f in free) + queued)
                gauges += [(t, "pool_in_use", sum(f > t for f in free)), (t, "pool_waiting", min(22.0, queued))]
                gauges += [
                    (t, "workers_busy", busy),
                    (t, "workers_limit", 32),
                    (t, "queue_length", max(0, queued - 22)),
                ]
                next_gauge += 0.5
            if endpoint == "catalog":
                took, status, error = threads + rng.lognormvariate(-4.2, 0.3), 200, ""
            elif wait > self.most_waiting_s:
                took, status, error = self.most_waiting_s, 503, "http_5xx"
            else:
                heapq.heapreplace(free, t + wait + hold)
                took, status, error = wait + hold, 200, ""
            if took > 1.0:
                took, status, error = 1.0, 0, "timeout"
            end = t + took
            if end > SECONDS:
                end, status, error = SECONDS, 0, "aborted"
            elif error and endpoint == "checkout" and attempt < self.retries:
                heapq.heappush(events, (end, chain, attempt + 1, endpoint))
            rows.append((chain, attempt, endpoint, t, t, end, status, error))
        return rows, gauges


def _rate(t: float) -> float:
    return 117.0 if 30 <= t < 60 else 90.0


def collapse(folder: Path) -> tuple[Record, Verdict]:
    """Retries at once and long waits: down during the fault, and down for good."""
    record = _record(folder, retries=3, most_waiting_s=30.0, variant="fragile")
    return record, _collapsed(record.info.run_id)


def contained(folder: Path) -> tuple[Record, Verdict]:
    """No retries and short waits: checkout refuses part of its requests, the catalogue does not notice."""
    record = _record(folder, retries=0, most_waiting_s=0.25, variant="hardened")
    return record, _contained(record.info.run_id)


def _record(folder: Path, *, retries: int, most_waiting_s: float, variant: str) -> Record:
    samples, readings = {}, []
    for arm, faulty in (("baseline-1", False), ("fault-1", True)):
        rows, gauges = Shop(retries, most_waiting_s, faulty).rows()
        samples[arm] = _columns(rows)
        readings += [(arm, t, "app-1", metric, value / 2) for t, metric, value in gauges]
        readings += [(arm, t, "app-2", metric, value / 2) for t, metric, value in gauges]
    fault = {"fault": "postgres-slow", "component": "postgres", "edge": "app->postgres"}
    kinds = ("fault.requested", "fault.active", "fault.clear-requested", "fault.clear")
    times = (WINDOW[0] - 0.02, WINDOW[0], WINDOW[1] - 0.02, WINDOW[1])
    info = {
        "run_id": f"20260102-020000-two-am-{variant}",
        "scenario": {
            "name": "two-am",
            "hypothesis": "If the database answers 150 ms late for ten seconds of a +30 % spike, "
            "people can still browse the shop, and all of it is well again ten seconds later.",
            "target": "sample-flask-app",
            "variant": variant,
            "load": {"rate": "90/s", "timeout": "1s", "arrivals": "poisson"},
            "faults": [{"latency": {"edge": "app->postgres", "by": "150ms", "at": "spike + 10s", "for": "10s"}}],
            "expect": ["error-rate of catalog increases by < 1pp", "recovers within 10s", "no cascade"],
        },
        "scenario_sha256": "ab" * 32,
        "phases": [{"name": n, "start_s": a, "end_s": b, "rate": r} for n, a, b, r in PHASES],
        "target": {"dependencies": {"catalog": ["app"], "checkout": ["app", "postgres"]}},
        "faults": [
            {
                "id": "postgres-slow",
                "kind": "latency",
                "component": "postgres",
                "edge": "app->postgres",
                "at_s": WINDOW[0],
                "for_s": WINDOW[1] - WINDOW[0],
                "params": {"by_s": 0.15},
            }
        ],
        "seeds": {"seed": 7},
        "host": {"os": "Linux 6.1", "cores_usable": 2, "memory_bytes": 8 << 30},
        "versions": {"python": "3.11.7", "harness": "0.1.0", "locust": "2.43"},
    }
    write_record(
        folder,
        info=info,
        arms=[{"name": arm, "kind": arm[:-2], "pair": 1, "duration_s": SECONDS} for arm in samples],
        samples=samples,
        events=[
            {"t_ns": round(t * NS), "arm": "fault-1", "kind": k, **fault} for t, k in zip(times, kinds, strict=True)
        ],
        telemetry=readings,
    )
    return read(folder)


def _columns(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    rows = sorted(rows, key=lambda row: (row[3], row[0], row[1]))
    first = {row[0]: seq for seq, row in enumerate(rows) if row[1] == 0}
    moments = np.round(np.array([row[3:6] for row in rows]) * NS).astype(np.int64)
    return {
        "worker": np.zeros(len(rows), dtype=np.int16),
        "seq": np.arange(len(rows)),
        "attempt": [row[1] for row in rows],
        "first_seq": [first[row[0]] for row in rows],
        "endpoint": [row[2] for row in rows],
        "intended_ns": moments[:, 0],
        "start_ns": moments[:, 1],
        "end_ns": moments[:, 2],
        "status": [row[6] for row in rows],
        "error": [row[7] for row in rows],
        "bytes": [512 if not row[7] else 0 for row in rows],
    }


def _collapsed(run_id: str) -> Verdict:
    return Verdict(
        run_id=run_id,
        scenario="two-am",
        variant="fragile",
        hypothesis="If the database answers 150 ms late for ten seconds of a +30 % spike, people can still browse the "
        "shop, and all of it is well again ten seconds later.",
        outcome="fail",
        exit_code=Exit.CASCADE,
        sentence="A ten-second slow database took the whole shop down, and it stayed down after the database was well.",
        cascade=Cascade(
            "metastable",
            "Checkout and catalog still failed 45 s after the fault was gone, at a load the baseline carried without "
            "an error; retries (4.0 attempts per request) keep the system busy with work nobody waits for any more.",
            (
                Evidence("C1", True, "errors rose by 88.1 points (86.0 to 90.2) without a path to postgres", "catalog"),
                Evidence("C2", True, "3.9 attempts per request, 1.0 in the baseline (ceiling 4)", "checkout", 3.9),
                Evidence("C3", True, "not recovered within the 45 s watched"),
                Evidence("C4", True, "2 right answers per second of 90 offered, threads 100 % busy"),
                Evidence("C5", True, "checkout before catalog in 98 % of resamples"),
                Evidence("C6", None, "hysteresis was not tested: the scenario has no shed phase"),
            ),
            (
                Onset("pool_waiting of app-1", 40.3, Interval(40.0, 40.9), "waiting"),
                Onset("p95 of checkout", 40.6, Interval(40.1, 41.2)),
                Onset("error rate of checkout", 42.1, Interval(41.3, 42.9)),
                Onset("error rate of catalog", 44.8, Interval(43.9, 46.0)),
            ),
            factors=(
                Factor("client", "", "checkout", "after", 1.0, 3.9, 3.9, Interval(3.8, 4.0), 4.0),
                Factor("app", "postgres", "", "after", 0.7, 1.3, 1.9, Interval(1.7, 2.1), None),
            ),
            chain=("pool_waiting of app-1", "p95 of checkout", "error rate of checkout", "error rate of catalog"),
            path=(Step("error rate of checkout", "error rate of catalog", 0.98),),
            hysteresis="not tested",
        ),
        comparisons=(
            Comparison(
                "error-rate of catalog increases by < 1pp",
                "catalog",
                "error-rate",
                "fault",
                0.0,
                0.62,
                62.0,
                Interval(57.3, 66.4),
                "pp",
                1.0,
                0.0001,
                "fail",
                "the whole interval is beyond 1 point",
                390,
                388,
            ),
            Comparison(
                "p95 of checkout increases by < 50%",
                "checkout",
                "p95",
                "fault",
                131.0,
                4003.0,
                2955.0,
                Interval(2790.0, 3120.0),
                "%",
                50.0,
                0.0001,
                "fail",
                "the whole interval is beyond 50 %",
                780,
                781,
            ),
            Comparison(
                "recovers within 10s",
                "",
                "recovery",
                "after",
                None,
                None,
                None,
                NONE,
                "s",
                10.0,
                None,
                "fail",
                "not recovered in the 45 s watched",
                0,
                0,
            ),
            Comparison(
                "no cascade",
                "",
                "cascade",
                "fault",
                None,
                None,
                None,
                NONE,
                "",
                None,
                None,
                "fail",
                "the failure is metastable",
                0,
                0,
            ),
            Comparison(
                "goodput decreases by < 5%",
                "",
                "goodput",
                "fault",
                117.0,
                21.0,
                -82.0,
                Interval(-86.0, -78.0),
                "%",
                5.0,
                0.0001,
                "fail",
                "the whole interval is beyond 5 %",
                1170,
                1169,
            ),
        ),
        recovery=Recovery(False, 45.0, True, {"catalog": None, "checkout": None}),
        endpoints=(
            EndpointSummary(
                "checkout",
                True,
                780,
                781,
                0.0,
                0.974,
                1.0,
                84.0,
                4003.0,
                131.0,
                4010.0,
                190.0,
                4018.0,
                1.0,
                3.93,
                {"timeout": 761},
            ),
            EndpointSummary(
                "catalog",
                False,
                390,
                388,
                0.0,
                0.62,
                1.0,
                15.1,
                1000.0,
                24.4,
                1000.0,
                30.0,
                1000.0,
                1.0,
                1.0,
                {"timeout": 241},
            ),
        ),
        failures=(
            Failures("", 5204, 2, 5204, 4310),
            Failures("catalog", 1702, 2, 1702, 1301),
            Failures("checkout", 3502, 0, 3502, 3009),
        ),
        validity=Validity(True, ()),
    )


def _contained(run_id: str) -> Verdict:
    return Verdict(
        run_id=run_id,
        scenario="two-am",
        variant="hardened",
        hypothesis="If the database answers 150 ms late for ten seconds of a +30 % spike, people can still browse the "
        "shop, and all of it is well again ten seconds later.",
        outcome="pass",
        exit_code=Exit.PASS,
        sentence="Checkout turned people away while the database was slow; everything else kept working, and it was "
        "over 1.4 s after the database was well.",
        cascade=Cascade(
            "contained",
            "Only checkout, which needs the database, was affected.",
            (Evidence("C1", False, "errors of catalog rose by 0.0 points (-0.4 to 0.5)", "catalog", 0.0),),
            (Onset("error rate of checkout", 40.9, Interval(40.2, 41.5)),),
        ),
        comparisons=(
            Comparison(
                "error-rate of catalog increases by < 1pp",
                "catalog",
                "error-rate",
                "fault",
                0.0,
                0.0,
                0.0,
                Interval(-0.4, 0.5),
                "pp",
                1.0,
                0.8,
                "pass",
                "the whole interval is within 1 point",
                390,
                388,
            ),
            Comparison(
                "recovers within 10s",
                "",
                "recovery",
                "after",
                None,
                1.4,
                None,
                NONE,
                "s",
                10.0,
                None,
                "pass",
                "recovered after 1.4 s",
                0,
                0,
            ),
            Comparison(
                "no cascade",
                "",
                "cascade",
                "fault",
                None,
                None,
                None,
                NONE,
                "",
                None,
                None,
                "pass",
                "the damage is contained",
                0,
                0,
            ),
        ),
        recovery=Recovery(True, 1.4, False, {"catalog": 0.0, "checkout": 1.4}),
        impact=Impact(
            0.61,
            12.0,
            13.0,
            570,
            {"catalog": EndpointImpact(0.0, 0.0, 0.0, 0), "checkout": EndpointImpact(0.92, 12.0, 13.0, 570)},
        ),
        endpoints=(
            EndpointSummary(
                "checkout",
                True,
                780,
                781,
                0.0,
                0.73,
                0.004,
                84.0,
                250.0,
                131.0,
                790.0,
                190.0,
                830.0,
                1.0,
                1.0,
                {"http_5xx": 570},
            ),
            EndpointSummary(
                "catalog", False, 390, 388, 0.0, 0.0, 0.0, 15.1, 15.2, 24.4, 24.6, 30.0, 31.0, 1.0, 1.0, {}
            ),
        ),
        validity=Validity(True, ()),
    )
