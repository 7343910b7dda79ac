"""What the conductor tells a load worker, and what the worker reports: plain data that travels as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.plan import Load, Retry
from harness.shapes import Segment, Wave
from harness.traces import Replay

LATE_MS: Final = 10.0
"""An arrival that finds a free user and starts later than this after its instant is late by the worker's doing."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The work of one load worker in one arm: `worker` counts from 0 to `workers` - 1, `host` is `http://HOST:PORT`.

    The worker serves the arrivals k with `k % workers == worker`, with `load.users` virtual users shared out
    evenly over the workers, and writes its rows to `spool`. Its progress tells what `abort_when` looks at.
    `acknowledges`: the endpoint whose 2xx answers say that a write is stored, and the request header that names the
    write; the worker notes these names.
    """

    arm: str
    worker: int
    workers: int
    host: str
    spool: str
    load: Load
    abort_when: tuple[str, ...] = ()
    acknowledges: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The name of the worker's process and of its telemetry: `load-worker-1`, ..."""
        return f"load-worker-{self.worker + 1}"

    @property
    def users(self) -> int:
        """The virtual users of this worker: its share of `load.users`, one at least."""
        share, rest = divmod(self.load.users, self.workers)
        return max(1, share + (self.worker < rest))

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        """Read what `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` when it is something else."""
        data: dict[str, Any] = json.loads(text)
        acknowledges = data["acknowledges"] and tuple(data["acknowledges"])
        read = {"load": load_from_data(data["load"]), "abort_when": tuple(data["abort_when"])}
        return cls(**{**data, **read, "acknowledges": acknowledges})


def load_from_data(data: Mapping[str, Any]) -> Load:
    """A `Load` from its JSON-ready data (the form of `dataclasses.asdict`)."""
    return Load(
        **{
            **data,
            "segments": tuple(Segment(**segment) for segment in data["segments"]),
            "waves": tuple(Wave(**wave) for wave in data["waves"]),
            "traces": tuple(Replay(**replay) for replay in data["traces"]),
            "retries": {name: Retry(**retry) for name, retry in data["retries"].items()},
        }
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """Of the arrivals that an abort condition is about: counts since the arm's start, its quantile over a second."""

    finished: int
    failed: int
    quantile_ms: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How the load of an arm is going, by one worker or by all of them.

    `t_ns` is since the arm's start. `arrivals`, `finished`, `failed` and `dropped` count arrivals since the start
    (a dropped one is finished and failed too); so does `late` those that found a free user and were started more than
    `LATE_MS` late. `p95_ms` is the response time over the last 2 s, None without any; `lag_p99_ms` how late arrivals
    that found a free user were started, over the last 5 s; `cpu_percent` is of one core since the report before.
    `watched` is what each abort condition looks at. `storming`: how many workers are in a retry storm; `storm_failed`
    and `storm_retries` as in `Retries`.
    """

    t_ns: int
    arrivals: int
    finished: int
    failed: int
    in_flight: int
    p95_ms: float | None
    cpu_percent: float
    lag_p99_ms: float
    users_free: int
    dropped: int
    late: int
    watched: tuple[Seen, ...] = ()
    storming: int = 0
    storm_failed: int = 0
    storm_retries: int = 0

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Progress:
        """From JSON-ready data. Raises `KeyError` or `TypeError` when it is something else."""
        return cls(**{**data, "watched": tuple(Seen(**seen) for seen in data["watched"])})

    @classmethod
    def total(cls, parts: list[Progress]) -> Progress:
        """The progress of several workers as one: counts add up, times and loads are the worst of them."""
        p95s = [part.p95_ms for part in parts if part.p95_ms is not None]
        return cls(
            t_ns=min(part.t_ns for part in parts),
            arrivals=sum(part.arrivals for part in parts),
            finished=sum(part.finished for part in parts),
            failed=sum(part.failed for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            p95_ms=max(p95s, default=None),
            cpu_percent=max(part.cpu_percent for part in parts),
            lag_p99_ms=max(part.lag_p99_ms for part in parts),
            users_free=sum(part.users_free for part in parts),
            dropped=sum(part.dropped for part in parts),
            late=sum(part.late for part in parts),
            storming=sum(part.storming for part in parts),
            storm_failed=sum(part.storm_failed for part in parts),
            storm_retries=sum(part.storm_retries for part in parts),
            watched=tuple(_together(seen) for seen in zip(*(part.watched for part in parts), strict=True)),
        )


def _together(seen: tuple[Seen, ...]) -> Seen:
    times_ms = [one.quantile_ms for one in seen if one.quantile_ms is not None]
    return Seen(sum(one.finished for one in seen), sum(one.failed for one in seen), max(times_ms, default=None))
