"""An unchanged FastHttpUser locustfile in the harness's closed model, beside the same file in plain Locust.

    python benchmarks/unchanged.py               six pairs of ten seconds, in alternating order
    python benchmarks/unchanged.py --pairs 2 --seconds 3

Both send as fast as they can against the same nginx. Prints requests per second and per CPU-second of each, and the
median over the pairs of ours to Locust's; 0.95 is the aim. Exits 1 when a request is not in the record. Needs nginx and
an idle machine of two cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from generators import Figures, Generator, fast_http_user, unchanged
from nginx import MissingProgramError, Nginx


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of each run")
    options = parser.parse_args()
    generators: dict[str, Generator] = {"harness": unchanged, "locust": fast_http_user}
    pairs: list[dict[str, Figures]] = []
    print(f"{'':>10} {'requests/s':>11} {'per CPU-s':>10} {'CPU':>6} {'not recorded':>13}")
    try:
        with tempfile.TemporaryDirectory(prefix="harness-bench-") as top, Nginx(Path(top) / "nginx") as nginx:
            for number in range(options.pairs):
                pair = {}
                for name in sorted(generators, reverse=number % 2 == 1):
                    folder = Path(top) / f"{number}-{name}"
                    folder.mkdir()
                    pair[name] = seen = generators[name](nginx, 0.0, options.seconds, folder)
                    row = f"{name:>10} {seen.rate:>11,.0f} {seen.per_cpu_second:>10,.0f} {seen.cpu_percent:>5.0f}%"
                    print(row, f"{seen.lost if name == 'harness' else '-':>13}", flush=True)
                pairs.append(pair)
    except MissingProgramError as error:
        print(error, file=sys.stderr)
        return 2
    for what in ("rate", "per_cpu_second"):
        ratios = sorted(getattr(pair["harness"], what) / getattr(pair["locust"], what) for pair in pairs)
        print(f"harness / locust, {what}: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")
    return int(any(pair["harness"].lost for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
