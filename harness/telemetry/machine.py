"""For whom the processors of this machine worked: what others take in one arm only is taken for the fault."""

from __future__ import annotations

import contextlib

import psutil

from harness.telemetry.sources import Reading, Source

_NAME = "machine"


def machine(root: psutil.Process) -> Source:
    """Processor seconds of all cores together, as counters of the component `machine`.

    `others_seconds_total` is what neither `root` nor its descendants used, `stolen_seconds_total` what the hypervisor
    gave to other guests. Time in interrupts is nobody's; what a process used between the last reading and its end
    counts as others'.
    """
    return Source(_NAME, _Meter(root).read, period_s=1.0)


class _Meter:
    """Adds up what each reading finds; what one takes for others' and the next one gives back is not added again."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._own_s = self._each()
        self._used_s, self._stolen_at_first_s = _used()
        self._difference_s = self._others_s = 0.0

    def read(self) -> list[Reading]:
        used_s, stolen_s = _used()
        own_s = self._each()
        new_s = sum(spent_s - self._own_s.get(process, 0.0) for process, spent_s in own_s.items())
        self._difference_s += used_s - self._used_s - new_s
        self._used_s, self._own_s = used_s, own_s
        self._others_s = max(self._others_s, self._difference_s)
        stolen_s -= self._stolen_at_first_s
        return [(_NAME, "others_seconds_total", self._others_s), (_NAME, "stolen_seconds_total", stolen_s)]

    def _each(self) -> dict[psutil.Process, float]:
        each = {}
        for process in (self._root, *self._root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                each[process] = times.user + times.system
        return each


def _used() -> tuple[float, float]:
    """Seconds that programs have used so far, and that were stolen."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system, getattr(times, "steal", 0.0)
