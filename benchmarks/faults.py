"""Measures how every fault of the catalogue keeps to its plan while the spike is on: late, seen, gone.

    python benchmarks/faults.py                    the whole catalogue, one after the other: about seven minutes
    python benchmarks/faults.py kill latency       only these
    python benchmarks/faults.py --check kill lock  exit code 1 when one began more than 50 ms late, or went wrong

Whole runs of the sample shop under the load of its +30 % spike (156/s, as in scenarios/quickstart.yaml). `late` is from
the planned instant to the beginning of the action, `seen` from there until its effect was confirmed, `gone` from the
planned end until that was confirmed. The figures are those that events.jsonl has anyway.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tables import print_table

from harness.faults.catalogue import catalogue
from harness.paths import shipped

MOST_LATE_MS: Final = 50.0
_PER_RUN: Final = 6
_EVERY_S: Final = 7.0
_FIRST_S: Final = 4.0
_HOW: Final[Mapping[str, str]] = {
    "bandwidth": "on: app->postgres, rate: 64KB/s",
    "config-drift": "on: app, set: pool_size=3, grace-period: 1s",
    "cpu-burn": "on: app",
    "crash-loop": "on: app, lives: 300ms, back-off: 300ms",
    "down": "on: app->redis",
    "dns-failure": "on: app->payments",
    "drain": "on: app, grace-period: 1s",
    "evict": "on: app, grace-period: 1s",
    "fd-exhaustion": "on: auth",
    "flapping": "on: app->redis, down: 300ms, up: 300ms",
    "http-errors": "on: app->payments, share: 50%",
    "jitter": "on: app->redis, up-to: 100ms",
    "kill": "on: app",
    "latency": "on: app->postgres, latency: 100ms",
    "limit-data": "on: app->redis, bytes: 1KB",
    "lock": "table: shop.orders",
    "memory-leak": "on: auth, rate: 100MB/s",
    "memory-pressure": "on: auth",
    "partition": "on: [app->auth, app->payments]",
    "pause": "on: app",
    "random-kills": "on: app, every: 1s",
    "rate-limit": "on: app->auth, allow: 10",
    "reset-peer": "on: app->redis",
    "rolling-restart": "on: app, grace-period: 1s",
    "scale-down": "on: app, grace-period: 1s",
    "autoscaling-lag": "on: app",
    "slicer": "on: app->postgres",
    "slow-body": "on: app->auth, takes: 1s",
    "slow-close": "on: app->redis, delay: 1s",
    "slow-queries": "delay: 100ms",
    "timeout": "on: app->redis",
}
"""What a fault needs to be told here; those that are absent need nothing."""
_ELSEWHERE: Final = {"sentinel-failover": "needs a target with sentinels", "failover": "needs a target with a standby"}

_SCENARIO: Final = """\
name: timing
hypothesis: Every fault begins when it is to begin.
target: sample-flask-app
variant: hardened
load:
  users: {users}
  rate: 120/s
  phases: [{{warm-up: 2s}}, {{spike: {spike_s:g}s, rate: +30%}}]
faults:
{faults}
expect: [no cascade]
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a fault kept to its plan, in ms; None for what did not happen. `trouble`: what ended its run, if it did."""

    fault: str
    late_ms: float | None = None
    seen_ms: float | None = None
    gone_ms: float | None = None
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Whether it began in time, and was seen to come and go."""
        return None not in (self.seen_ms, self.gone_ms) and self.late_ms is not None and self.late_ms <= MOST_LATE_MS


def measure(faults: Sequence[str], folder: Path) -> list[Kept]:
    """One run with these faults in turn."""
    entries = []
    for n, fault in enumerate(faults):
        how = [*filter(None, [_HOW.get(fault)]), f"at: {_FIRST_S + n * _EVERY_S:g}s", "for: 2s"]
        entries.append(f"  - {fault}: {{{', '.join(how)}}}")
    scenario = folder / "timing.yaml"
    users = shipped("scenarios") / "locustfiles" / "shop.py"
    spike_s = len(faults) * _EVERY_S + 4
    scenario.write_text(_SCENARIO.format(users=users, spike_s=spike_s, faults="\n".join(entries)))
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        scenario,
        "--only",
        "fault",
        "--out",
        folder / "results",
        "--json",
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    told = json.loads(done.stdout)
    events = [json.loads(line) for line in (Path(told["folder"]) / "events.jsonl").read_text().splitlines()]
    return [_kept(fault, events, "; ".join(told["messages"])) for fault in faults]


def _kept(fault: str, events: Sequence[Mapping[str, Any]], messages: str) -> Kept:
    mine = {event["kind"]: event for event in events if event.get("fault") == fault}

    def ms(kind: str, field: str) -> float | None:
        return mine[kind][field] if kind in mine else None

    times = (ms("fault.requested", "late_ms"), ms("fault.active", "after_ms"), ms("fault.clear", "after_ms"))
    return Kept(fault, *times, messages if None in times else "")


def main() -> int:
    """Measure, print, and with `--check` judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="faults by name (default: all)")
    parser.add_argument("--check", action="store_true", help="exit code 1 when one did not keep to its plan")
    asked = parser.parse_args()
    if unknown := set(asked.faults) - set(catalogue()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; `harness faults` lists what there is")
    families = sorted(catalogue().values(), key=lambda kind: (kind.family, kind.name))
    chosen = asked.faults or [kind.name for kind in families if kind.name not in _ELSEWHERE]
    kept: list[Kept] = []
    for first in range(0, len(chosen), _PER_RUN):
        with tempfile.TemporaryDirectory() as folder:
            kept += measure(chosen[first : first + _PER_RUN], Path(folder))
    rows = [
        [one.fault, *(_ms(value) for value in (one.late_ms, one.seen_ms, one.gone_ms)), one.trouble] for one in kept
    ]
    print_table([["fault", "late, ms", "seen after, ms", "gone after, ms", ""], *rows])
    late = [one.late_ms for one in kept if one.late_ms is not None]
    if late:
        print(
            f"{len(late)} faults began at most {max(late):.1f} ms after their instants; {MOST_LATE_MS:g} ms are allowed"
        )
    return int(asked.check and not all(one.good for one in kept))


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
