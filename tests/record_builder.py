"""Small, valid run records on disk for tests: from a synthetic service (`build_record`) or arrays (`write_record`).

Written with pyarrow alone, independently of `harness.record.writer`, so that the reader is held against a second
opinion of the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.record.schema import SAMPLES, SCHEMA_VERSION, TELEMETRY

NS = 1_000_000_000
PerEndpoint = float | Mapping[str, float]
"""One number for all endpoints, or endpoint -> number (endpoints that are absent get the undisturbed value)."""


def build_record(
    folder: Path,
    *,
    seconds: float = 40.0,
    rate: float = 100.0,
    endpoints: Sequence[str] = ("catalog", "checkout"),
    fault_window: tuple[float, float] = (15.0, 25.0),
    baseline_error: PerEndpoint = 0.0,
    fault_error: PerEndpoint | None = None,
    latency_ms: PerEndpoint = 20.0,
    fault_latency_ms: PerEndpoint | None = None,
    latency_spread: float = 0.3,
    recover: bool = True,
    retries: int = 0,
    timeout_s: float = 1.0,
    dependencies: Mapping[str, Sequence[str]] | None = None,
    component_dependencies: Mapping[str, Sequence[str]] | None = None,
    faulted: str = "redis",
    expect: Sequence[str] = (),
    abort: bool = False,
    pairs: int = 1,
    telemetry: Iterable[tuple[str, float, str, str, float]] = (),
    valid: bool = True,
    seed: int = 1,
    model: str = "open",
) -> Path:
    """Write a record of `pairs` baseline and fault arms of a synthetic service; returns the folder.

    `rate` arrivals/s (uniform spacing) go to the endpoints in seeded random order; each attempt takes a log-normal time
    (median `latency_ms`, log-sd 0.3) and fails with its endpoint's error share as `http_5xx`; one
    that takes longer than `timeout_s` is a `timeout`. In `fault_window` of the fault arm `fault_error` and
    `fault_latency_ms` hold, and with `recover=False` until the end. Failed attempts are retried at once up
    to `retries` times. Phases: warm-up (5 s), steady (to the fault's end), recovery. `telemetry` rows are
    (arm, t_s, component, metric, value). `abort` adds an abort event at the fault's end and cuts the fault arm there.
    """
    rng = np.random.default_rng(seed)
    begin, end = fault_window
    arrivals = _arrivals(rng, seconds, rate, len(endpoints))
    calm = (_each(endpoints, baseline_error, 0.0), _each(endpoints, latency_ms, 20.0))
    shaken = (
        calm[0] if fault_error is None else _each(endpoints, fault_error, calm[0]),
        calm[1] if fault_latency_ms is None else _each(endpoints, fault_latency_ms, calm[1]),
    )
    until = end if recover else np.inf

    samples: dict[str, dict[str, Any]] = {}
    events: list[dict[str, Any]] = []
    arms: list[dict[str, Any]] = []
    phases = [("warm-up", 0.0, 5.0), ("steady", 5.0, end), ("recovery", end, seconds)]
    for pair in range(1, pairs + 1):
        for kind in ("baseline", "fault"):
            name = f"{kind}-{pair}"
            lasts = end if abort and kind == "fault" else seconds
            window = (begin, until) if kind == "fault" else (np.inf, np.inf)
            samples[name] = _arm(rng, arrivals, endpoints, calm, shaken, window, retries, timeout_s, lasts)
            arms.append({"name": name, "kind": kind, "pair": pair, "duration_s": lasts})
            events += _events(name, kind, phases, (begin, end), faulted, lasts, abort)
    declared = dependencies or {endpoint: ["app", faulted] for endpoint in endpoints}
    info = {
        "scenario": {
            "name": "synthetic",
            "hypothesis": "If redis dies the shop keeps serving.",
            "target": "synthetic",
            "variant": "hardened",
            "load": {"rate": f"{rate:g}/s", "timeout": f"{timeout_s:g}s"},
            "faults": [{"redis-down": {"at": f"{begin:g}s", "for": f"{end - begin:g}s"}}],
            "expect": list(expect),
        },
        "load": {"model": model},
        "phases": [{"name": n, "start_s": a, "end_s": b, "rate": rate} for n, a, b in phases],
        "target": {
            "dependencies": {endpoint: list(components) for endpoint, components in declared.items()},
            "component_dependencies": {k: list(v) for k, v in (component_dependencies or {"app": [faulted]}).items()},
            "shared_resources": {},
        },
        "faults": [
            {
                "id": "redis-down",
                "kind": "redis-down",
                "component": faulted,
                "edge": "",
                "at_s": begin,
                "for_s": end - begin,
                "params": {},
            }
        ],
        "validity": {"valid": valid, "reasons": [] if valid else ["the load worker was short of CPU"]},
        "seeds": {"run": seed},
    }
    return write_record(folder, info=info, arms=arms, samples=samples, events=events, telemetry=telemetry)


def write_record(
    folder: Path,
    *,
    info: Mapping[str, Any],
    arms: Sequence[Mapping[str, Any]],
    samples: Mapping[str, Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]] = (),
    telemetry: Iterable[tuple[str, float, str, str, float]] = (),
) -> Path:
    """Write a record from arrays: `samples` maps arm -> column -> values (every column of SAMPLES but `arm`)."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [samples_table(name, columns) for name, columns in samples.items()]
    pq.write_table(pa.concat_tables(tables) if tables else SAMPLES.empty_table(), folder / "samples.parquet")
    readings = [(arm, round(t_s * NS), component, metric, value) for arm, t_s, component, metric, value in telemetry]
    columns = list(zip(*readings, strict=True)) or [()] * len(TELEMETRY)
    arrays = [pa.array(list(values)).cast(field.type) for values, field in zip(columns, TELEMETRY, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=TELEMETRY), folder / "telemetry.parquet")
    lines = [json.dumps(event) for event in events]
    (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    rows = {table: len(columns["seq"]) for table, columns in samples.items()}
    start_ns = 10**12
    document = {
        "schema_version": SCHEMA_VERSION,
        "run_id": "20260101-000000-synthetic",
        "scenario": {"name": "synthetic"},
        "scenario_sha256": "0" * 64,
        "phases": [],
        "target": {"dependencies": {}, "component_dependencies": {}, "shared_resources": {}},
        "validity": {"valid": True, "reasons": []},
        **info,
        "arms": [
            {
                "start_utc": f"2026-01-01T00:{index:02d}:00Z",
                "start_monotonic_ns": start_ns + index * 60 * NS,
                "rows": rows.get(arm["name"], 0),
                **arm,
            }
            for index, arm in enumerate(arms)
        ],
    }
    (folder / "run.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Make the digests and row counts in run.json agree with the files that are there."""
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    files = {}
    for name in ("samples.parquet", "telemetry.parquet", "events.jsonl"):
        data = (folder / name).read_bytes()
        count = (
            len([line for line in data.splitlines() if line])
            if name.endswith(".jsonl")
            else pq.read_metadata(folder / name).num_rows
        )
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "rows": count}
    document["files"] = files
    (folder / "run.json").write_text(json.dumps(document, indent=2), encoding="utf-8")


def samples_table(arm: str, columns: Mapping[str, Any]) -> pa.Table:
    """The rows of one arm as a table of the schema SAMPLES."""
    count = len(columns["seq"])
    arrays = []
    for field in SAMPLES:
        values = pa.array([arm] * count if field.name == "arm" else columns[field.name])
        arrays.append(values.dictionary_encode().cast(field.type) if field.name in _WORDS else values.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=SAMPLES)


_WORDS = ("arm", "endpoint", "error")


def _arrivals(rng: np.random.Generator, seconds: float, rate: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    at = ((np.arange(round(seconds * rate)) + 0.5) / rate * NS).astype(np.int64)
    return at, rng.integers(0, n, size=at.size)


def _each(endpoints: Sequence[str], value: PerEndpoint, default: float | np.ndarray) -> np.ndarray:
    if isinstance(value, Mapping):
        defaults = np.broadcast_to(np.asarray(default, dtype=float), len(endpoints))
        return np.array([value.get(endpoint, other) for endpoint, other in zip(endpoints, defaults, strict=True)])
    return np.full(len(endpoints), float(value))


def _arm(
    rng: np.random.Generator,
    arrivals: tuple[np.ndarray, np.ndarray],
    endpoints: Sequence[str],
    calm: tuple[np.ndarray, np.ndarray],
    shaken: tuple[np.ndarray, np.ndarray],
    window_s: tuple[float, float],
    retries: int,
    timeout_s: float,
    lasts_s: float,
) -> dict[str, Any]:
    intended, endpoint = arrivals
    within = intended < lasts_s * NS
    intended, endpoint = intended[within], endpoint[within]
    chain = np.arange(intended.size)
    parts: list[dict[str, np.ndarray]] = []
    for attempt in range(retries + 1):
        disturbed = (intended >= window_s[0] * NS) & (intended < window_s[1] * NS)
        share = np.where(disturbed, shaken[0][endpoint], calm[0][endpoint])
        median_ms = np.where(disturbed, shaken[1][endpoint], calm[1][endpoint])
        took_s = median_ms / 1e3 * np.exp(rng.normal(0.0, 1.0, intended.size) * 0.3)
        failed = rng.random(intended.size) < share
        late = took_s >= timeout_s
        end = intended + (np.minimum(took_s, timeout_s) * NS).astype(np.int64)
        cut = end > lasts_s * NS
        error = np.select([cut, late, failed], ["aborted", "timeout", "http_5xx"], "")
        end = np.where(cut, int(lasts_s * NS), end)
        status = np.select([cut | late, failed], [0, 500], 200)
        parts.append(
            {
                "attempt": np.full(intended.size, attempt),
                "endpoint": endpoint,
                "intended_ns": intended,
                "end_ns": end,
                "error": error,
                "status": status,
                "chain": chain,
            }
        )
        again = (late | failed) & ~cut & (end < lasts_s * NS)
        intended, endpoint, chain = end[again], endpoint[again], chain[again]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((rows["attempt"], rows["chain"], rows["intended_ns"]))
    rows = {name: values[order] for name, values in rows.items()}
    seq = np.arange(order.size)
    first = rows["attempt"] == 0
    first_seq = np.empty(int(first.sum()), dtype=np.int64)
    first_seq[rows["chain"][first]] = seq[first]
    return {
        "worker": np.zeros(seq.size, dtype=np.int16),
        "seq": seq,
        "attempt": rows["attempt"],
        "first_seq": first_seq[rows["chain"]],
        "endpoint": np.asarray(endpoints)[rows["endpoint"]],
        "intended_ns": rows["intended_ns"],
        "start_ns": rows["intended_ns"],
        "end_ns": rows["end_ns"],
        "status": rows["status"],
        "error": rows["error"],
        "bytes": np.where(rows["error"] == "", 512, 0),
    }


def _events(
    arm: str,
    kind: str,
    phases: Sequence[tuple[str, float, float]],
    window_s: tuple[float, float],
    component: str,
    lasts_s: float,
    abort: bool,
) -> list[dict[str, Any]]:
    timed: list[tuple[float, str, dict[str, Any]]] = []
    for name, start, end in phases:
        if start < lasts_s:
            timed.append((start, "phase.start", {"phase": name}))
            timed.append((min(end, lasts_s), "phase.end", {"phase": name}))
    if kind == "fault":
        of_fault = {"fault": "redis-down", "component": component, "edge": ""}
        begin, clear = window_s
        timed += [
            (begin - 0.05, "fault.requested", of_fault),
            (begin, "fault.active", of_fault),
            (clear - 0.05, "fault.clear-requested", of_fault),
            (clear, "fault.clear", of_fault),
        ]
        if abort:
            timed.append((clear, "abort", {"reason": "error-rate > 50% for 5s"}))
    timed.sort(key=lambda entry: entry[0])
    return [{"t_ns": round(t * NS), "arm": arm, "kind": word, **fields} for t, word, fields in timed]
