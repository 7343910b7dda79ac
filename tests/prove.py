"""Runs the shipped scenarios and holds every ending against the class that each variant claims (`ends-as`).

    python tests/prove.py                         every claim, once: for every night
    python tests/prove.py redis --times 10        only the claims whose name contains `redis`, ten times each
    python tests/prove.py "two-am fragile" --add  only the claim of that name, once more: beside what was seen before
    python tests/prove.py --table                 runs nothing, only writes the table anew

Runs that were invalid (exit code 5: something else kept the machine too busy) are repeated. What was seen goes into
scenarios/endings and the table of scenarios/README.md; the exit code is 1 when a claim was not met, or a scratch folder
was left behind.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import endings
from endings import INVALID, Claim, Ending


def run(claim: Claim, results: Path) -> tuple[Ending, Path | None]:
    """Run a claim once; its ending, and the scratch folder if it is still there."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(endings.SCENARIOS / f"{claim.scenario}.yaml"),
         "--variant", claim.variant, "--json", "--quiet", "--out", str(results), *claim.options],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    told = json.loads(done.stdout) if done.stdout else {"verdict": None, "folder": "?"}
    scratch = Path(tempfile.gettempdir(), f"harness-{Path(told['folder']).name}")
    ending = endings.ending_of(told["verdict"], done.returncode, time.monotonic() - started)
    return ending, scratch if scratch.exists() else None


def prove(claim: Claim, times: int, results: Path, *, add: bool) -> bool:
    """Run a claim until there are so many valid runs, or as many invalid ones; whether it held in all of them.

    Its endings take the place of the last ones, or are added to them. A scratch folder left behind spoils it.
    """
    series: list[Ending] = []
    valid: list[Ending] = []
    held = True
    while len(valid) < times and len(series) - len(valid) <= times:
        ending, left = run(claim, results)
        series.append(ending)
        told = ", ".join(f"{key} {value}" for key, value in ending.items())
        if left is not None:
            held = False
            print(f"{claim.name}: left behind: {left}", flush=True)
        if ending["exit"] == INVALID:
            print(f"{claim.name}: invalid, again: {told}", flush=True)
            continue
        valid.append(ending)
        print(f"{claim.name} {len(valid)}/{times}: {'ok' if claim.holds(ending) else 'NOT MET'}: {told}", flush=True)
    endings.keep(claim, [*(endings.seen(claim) if add else ()), *series])
    return held and len(valid) == times and all(map(claim.holds, valid))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "only", nargs="?", default="", help="only the claim of this name, or those whose names contain it"
    )
    parser.add_argument("--times", type=int, default=1, help="valid runs of each (default: 1)")
    parser.add_argument("--add", action="store_true", help="keep what was seen of these claims before")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where the runs' folders go")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table from what was seen before")
    options = parser.parse_args()
    if options.table:
        endings.PAGE.write_text(endings.with_table(endings.PAGE.read_text()))
        return 0
    claims = endings.claims()
    chosen = [claim for claim in claims if claim.name == options.only]
    chosen = chosen or [claim for claim in claims if options.only in claim.name]
    if not chosen:
        parser.error(f"no claim's name contains `{options.only}`")
    missed = [claim for claim in chosen if not prove(claim, options.times, options.out, add=options.add)]
    print("\n".join(f"NOT MET: {claim.name}: {claim.says}" for claim in missed) or f"all {len(chosen)} claims held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
