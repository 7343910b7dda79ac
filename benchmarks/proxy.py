"""Compares the embedded proxy with the real Toxiproxy (Go), side by side in one run, in front of the same Valkey.

    python benchmarks/proxy.py                    five rounds: about three minutes
    python benchmarks/proxy.py --quick            three short rounds without HAProxy: half a minute
    python benchmarks/proxy.py --quick --check    exit code 1 when this proxy has become slow (tries twice)

Measured: requests per second over 20 connections that ask again at once, and the processor time (user and system) the
proxy takes per request; the time to an answer with one connection; and what a latency toxic of 10 ms really adds while
2,000 requests a second come in over 20 connections. `direct` is without a proxy; HAProxy, with one thread, is there for
orientation. Every other round goes backwards. The table has medians and [smallest to largest]; what is compared with
`direct` or with Go is compared within rounds. Needs the real Toxiproxy or Go to make it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray
from relays import MissingProgramError, Relay, direct, find_go_server, find_haproxy, go, haproxy, ours, valkey_server
from tables import print_table, spread

CONNECTIONS: Final = 20
RATE: Final = 2000.0
DELAY_MS: Final = 10
_CLIENT: Final = Path(__file__).parent / "redis_client.py"
_WARM_UP_S: Final = 0.3

_MOST_CPU: Final = 0.9
_MOST_ADDED: Final = 1.0
_MOST_OFF_MS: Final = 1.0
"""What `--check` demands of processor time and added time against Go, and of the median of the delay. It does not look
at requests per second and p99, which other work on the machine shifts, and more so for one thread than for many."""

Start = Callable[[int, Path], AbstractContextManager[Relay]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One relay in one round.

    Over many connections: requests per second, and us of its processor time for each. With one connection: us to an
    answer. At a steady rate: ms to an answer through a latency toxic, or plain for `direct`; None without toxics.
    """

    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float
    paced_ms: NDArray[np.float64] | None


Round = Mapping[str, Figures]


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        try:
            relays: dict[str, Start] = {"direct": direct, "ours": ours, "Go": go(find_go_server(Path(folder)))}
        except MissingProgramError as missing:
            print(missing, file=sys.stderr)
            return 2
        if find_haproxy() and not options.quick:
            relays["HAProxy"] = haproxy
        shortfalls = _compare(relays, options)
        if shortfalls and options.check:
            print("once more, to tell a disturbed machine from a slower proxy")
            shortfalls = _compare(relays, options)
    for shortfall in shortfalls if options.check else ():
        print(shortfall, file=sys.stderr)
    return 1 if shortfalls and options.check else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement")
    parser.add_argument("--quick", action="store_true", help="three rounds of 0.7 s, without HAProxy")
    parser.add_argument("--check", action="store_true", help="exit 1 when this proxy is slow against Go, twice")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 0.7
    return options


def _compare(relays: Mapping[str, Start], options: argparse.Namespace) -> list[str]:
    """Measure and print; returns in words where ours falls short of what `--check` demands."""
    rounds = []
    for number in range(options.rounds):
        figures = {}
        for name in relays if number % 2 == 0 else reversed(list(relays)):
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            figures[name] = _measure(relays[name], options.seconds)
        rounds.append(figures)
    _print_figures(rounds, list(relays))
    return _shortfalls(rounds)


def _measure(start: Start, seconds: float) -> Figures:
    """A relay and a Valkey of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="harness-bench-") as folder,
        valkey_server(Path(folder)) as upstream,
        start(upstream, Path(folder)) as relay,
    ):
        _ask(relay, CONNECTIONS, _WARM_UP_S)
        before_s = relay.cpu_s()
        many = _ask(relay, CONNECTIONS, seconds)
        cpu_s = relay.cpu_s() - before_s
        one_us = _ask(relay, 1, seconds) / 1e3
        paced_ms = None
        with relay.latency(DELAY_MS) if relay.api else nullcontext():
            if relay.api or not relay.process:
                paced_ms = _ask(relay, CONNECTIONS, seconds, RATE) / 1e6
    p50_us, p99_us = np.percentile(one_us, (50, 99))
    return Figures(len(many) / seconds, cpu_s / len(many) * 1e6, p50_us, p99_us, paced_ms)


def _ask(relay: Relay, connections: int, seconds: float, rate: float | None = None) -> NDArray[np.int64]:
    """Nanoseconds to each answer."""
    command = [sys.executable, str(_CLIENT), str(relay.port)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    command += [] if rate is None else ["--rate", str(rate)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60 + 10 * seconds)
    return np.frombuffer(done.stdout, dtype="<i8")


def _print_figures(rounds: Sequence[Round], names: Sequence[str]) -> None:
    proxies = [name for name in names if name != "direct"]
    delaying = [name for name in proxies if rounds[0][name].paced_ms is not None]
    none: list[float] = []
    speed = [(f"{CONNECTIONS} connections", "requests/s", "against Go", "CPU us each", "against Go")]
    alone = [("one connection", "p50 us", "p99 us", "added p50 us", "added p99 us")]
    for name in names:
        ratios = _against_go(rounds, name) if name in proxies and name != "Go" else (none, none)
        speed.append((
            name,
            spread([one[name].rate for one in rounds]),
            spread(ratios[0], "{:.2f}x"),
            spread([one[name].cpu_us for one in rounds] if name in proxies else none, "{:.1f}"),
            spread(ratios[1], "{:.2f}x"),
        ))  # fmt: skip
        alone.append((
            name,
            spread([one[name].p50_us for one in rounds]),
            spread([one[name].p99_us for one in rounds]),
            spread([one[name].p50_us - one["direct"].p50_us for one in rounds] if name in proxies else none),
            spread([one[name].p99_us - one["direct"].p99_us for one in rounds] if name in proxies else none),
        ))  # fmt: skip
    slow = [(f"{DELAY_MS} ms at {RATE:,.0f}/s", "added p50 ms", "added p99 ms", f"99 % within {DELAY_MS} ms +-")]
    for name in delaying:
        added = [_added_ms(one, name) for one in rounds]
        slow.append((
            name,
            spread([p50 for p50, _, _ in added], "{:.3f}"),
            spread([p99 for _, p99, _ in added], "{:.3f}"),
            spread([off for _, _, off in added], "{:.3f}"),
        ))  # fmt: skip
    for table in (speed, alone, slow):
        print_table(table)
        print()


def _against_go(rounds: Sequence[Round], name: str) -> tuple[list[float], list[float]]:
    """How many times the Go server's requests per second, and its processor time per request, round by round."""
    rates = [one[name].rate / one["Go"].rate for one in rounds]
    return rates, [one[name].cpu_us / one["Go"].cpu_us for one in rounds]


def _added_ms(one: Round, name: str) -> tuple[float, float, float]:
    """What the toxic adds to the median and to the p99 of `direct`, and within how much of the wanted delay, over the
    median of `direct`, 99 % of the answers stay."""
    delayed, plain = one[name].paced_ms, one["direct"].paced_ms
    assert delayed is not None
    assert plain is not None
    p50, p99 = np.percentile(delayed, (50, 99)) - np.percentile(plain, (50, 99))
    off = np.abs(delayed - np.median(plain) - DELAY_MS)
    return float(p50), float(p99), float(np.percentile(off, 99))


def _shortfalls(rounds: Sequence[Round]) -> list[str]:
    """Where ours does not do what `--check` demands."""
    cpu = median(_against_go(rounds, "ours")[1])
    ours_us, go_us = (median(one[name].p50_us - one["direct"].p50_us for one in rounds) for name in ("ours", "Go"))
    off_ms = median(abs(_added_ms(one, "ours")[0] - DELAY_MS) for one in rounds)
    found = []
    if cpu > _MOST_CPU:
        found.append(f"ours takes {cpu:.2f} times the processor time of Go; at most {_MOST_CPU}")
    if ours_us > go_us * _MOST_ADDED:
        found.append(f"ours adds {ours_us:.0f} us, Go {go_us:.0f} us; at most {_MOST_ADDED} times as much")
    if off_ms > _MOST_OFF_MS:
        found.append(f"the median of a delay of {DELAY_MS} ms is {off_ms:.2f} ms off; at most {_MOST_OFF_MS} ms")
    return found


if __name__ == "__main__":
    sys.exit(main())
