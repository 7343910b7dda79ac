"""A process that takes what a target would like to have: processor time, or memory. Bounded in time and size.

    python -m harness.faults.companion burn SECONDS
    python -m harness.faults.companion hoard SECONDS BYTES_PER_SECOND MOST_BYTES

It ends by itself after SECONDS, whoever started it and whatever became of that.
"""

from __future__ import annotations

import sys
import time

STEP_S = 0.05
PAGE = 4096


def burn(seconds: float) -> None:
    """Use a processor as much as it may."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def hoard(seconds: float, rate: float, most: float) -> None:
    """Hold ever more memory, `rate` bytes per second up to `most` bytes, all of it touched."""
    begin = now = time.monotonic()
    held: list[bytearray] = []
    size = 0
    while now < begin + seconds:
        due = int(min(most, rate * (now - begin))) - size
        if due >= PAGE:
            chunk = bytearray(due)
            chunk[::PAGE] = b"\1" * len(range(0, due, PAGE))
            held.append(chunk)
            size += due
        time.sleep(STEP_S)
        now = time.monotonic()


if __name__ == "__main__":
    work, *numbers = sys.argv[1:]
    if work == "burn":
        burn(float(numbers[0]))
    else:
        hoard(*map(float, numbers))
