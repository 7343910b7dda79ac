"""Runs the shipped scenarios again and again and holds every ending against what the scenario claims.

    python tests/prove.py                       every claim
    python tests/prove.py redis --times 10      only the claims whose name contains `redis`, ten times each

Prints a table; exits 1 when a claim was not met, or a process or a scratch folder was left behind.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
Verdict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A scenario in a variant, how often it is run, and what must come out each time."""

    scenario: str
    variant: str
    times: int
    says: str
    holds: Callable[[int, Verdict], bool]
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join((self.scenario, self.variant, *self.options))


def error_rate_outcome(verdict: Verdict) -> str:
    """The outcome of `error-rate increases by < 1pp`."""
    return next(
        one["outcome"]
        for one in verdict["comparisons"]
        if one["metric"] == "error-rate" and one["endpoint"] == "" and one["margin"] == 1.0
    )


def ends_as(klass: str) -> Callable[[int, Verdict], bool]:
    return lambda _code, verdict: verdict["cascade"]["class"] == klass


CLAIMS = [
    Claim("quickstart", "hardened", 10, "passes; errors increase by < 1 point",
          lambda code, verdict: code == 0 and error_rate_outcome(verdict) == "pass"),
    Claim("quickstart", "fragile", 10, "fails; errors increase by more",
          lambda code, verdict: code in (1, 3) and error_rate_outcome(verdict) == "fail"),
    Claim("redis-outage", "hardened", 1, "passes", lambda code, _verdict: code == 0),
    Claim("redis-outage", "fragile", 1, "contained", ends_as("contained")),
    Claim("two-am", "fragile", 3, "metastable", ends_as("metastable")),
    Claim("two-am", "fragile", 1, "metastable, confirmed: shedding all load ends it",
          lambda _code, verdict: verdict["cascade"]["hysteresis"] == "confirmed", ("--set", "hysteresis=on")),
    Claim("two-am", "client-hardened", 3, "cascading", ends_as("cascading")),
    Claim("two-am", "hardened", 3, "contained, and passes",
          lambda code, verdict: code == 0 and verdict["cascade"]["class"] == "contained"),
    Claim("two-am", "fragile", 3, "none", ends_as("none"), ("--only", "baseline")),
    *(claim
      for scenario in ("slow-auth", "pool-exhaustion", "rate-limited-api", "network-partition")
      for claim in (
          Claim(scenario, "fragile", 3, "cascading", ends_as("cascading")),
          Claim(scenario, "hardened", 3, "contained, and passes",
                lambda code, verdict: code == 0 and verdict["cascade"]["class"] == "contained"),
      )),
]  # fmt: skip


def run(claim: Claim, results: Path) -> tuple[bool, str]:
    """Run a claim once; whether it held, and the ending in words."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(SCENARIOS / f"{claim.scenario}.yaml"), "--variant", claim.variant,
         "--json", "--quiet", "--out", str(results), *claim.options],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    took_s = time.monotonic() - started
    verdict = json.loads(done.stdout)["verdict"] if done.stdout else None
    if verdict is None:
        return False, f"exit {done.returncode}, no verdict, {took_s:.0f} s"
    ending = f"exit {done.returncode}, {verdict['outcome']}, {verdict['cascade']['class']}, {took_s:.0f} s"
    return claim.holds(done.returncode, verdict), ending


def left_behind() -> list[str]:
    """Scratch folders of the harness that still exist."""
    return [str(path) for path in Path(tempfile.gettempdir()).glob("harness-*")]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("only", nargs="?", default="", help="run only claims whose name contains this")
    parser.add_argument("--times", type=int, help="how often each (default: as the claim says)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    before = set(left_behind())
    rows, ok = [], True
    for claim in (claim for claim in CLAIMS if options.only in claim.name):
        times = options.times or claim.times
        held = 0
        for number in range(1, times + 1):
            kept, ending = run(claim, options.out)
            held += kept
            print(f"{claim.name} {number}/{times}: {'ok' if kept else 'NOT MET'}: {ending}", flush=True)
        rows.append(f"| {claim.name} | {claim.says} | {held} of {times} |")
        ok = ok and held == times
    print("\n| scenario and variant | claim | held |\n| --- | --- | --- |", *rows, sep="\n")
    left = sorted(set(left_behind()) - before)
    if left:
        print("left behind:", *left)
    return 0 if ok and not left else 1


if __name__ == "__main__":
    sys.exit(main())
