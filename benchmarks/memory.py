"""Watches the memory of a load worker over a long run: it must not grow with the number of requests.

    python benchmarks/memory.py                  ten minutes at 2,000/s
    python benchmarks/memory.py --minutes 1

Prints the resident set and the size of the spool over time, and exits 1 when the worker has grown by more than 5 MB
after the first half minute, or rows were lost. It may run beside other work. Needs nginx.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil
from generators import run_worker
from nginx import MissingProgramError, Nginx

from harness.clock import NS, sleep_until

_MOST_GROWTH_MB: Final = 5.0
_SETTLE_S: Final = 30.0


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two readings")
    options = parser.parse_args()
    load_s = options.minutes * 60
    try:
        with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder, Nginx(Path(folder) / "nginx") as nginx:
            spool = Path(folder) / "worker.rows"

            def watch(pid: int, t0_ns: int) -> list[float]:
                worker, sizes = psutil.Process(pid), list[float]()
                print("    s   RSS MB   spool MB", flush=True)
                for number in range(1, int(load_s / options.every) + 1):
                    sleep_until(t0_ns + int(number * options.every * NS) - NS // 10)
                    sizes.append(worker.memory_info().rss / 1e6)
                    rows_mb = spool.stat().st_size / 1e6
                    print(f"{number * options.every:5.0f}  {sizes[-1]:7.1f}  {rows_mb:9.1f}", flush=True)
                return sizes

            before = nginx.requests()
            sizes, rows = run_worker(nginx, options.rate, load_s, Path(folder), watch)
            lost = nginx.requests() - before - len(rows)
    except MissingProgramError as missing:
        print(missing, file=sys.stderr)
        return 2
    settled = sizes[max(0, int(_SETTLE_S / options.every) - 1) :]
    growth_mb = max(settled) - settled[0]
    print(f"{len(rows):,} rows, {lost} lost; at most {growth_mb:+.1f} MB against {_SETTLE_S:.0f} s after the start")
    return 1 if lost or growth_mb > _MOST_GROWTH_MB else 0


if __name__ == "__main__":
    sys.exit(main())
