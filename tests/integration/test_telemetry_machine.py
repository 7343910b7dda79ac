"""For whom the processors worked, told apart by whose process it was."""

import subprocess
import sys
import time

import psutil
import pytest

from harness.telemetry.machine import machine

BURN = "import time\nwhile time.process_time() < {}: pass\ninput()"
LITTLE_S = 0.3
"""What the pieces of a look, taken one after the other and in hundredths of a second, may be apart."""


def others_s(source):
    return {metric: value for _, metric, value in source.read()}["others_seconds_total"]


def wait_until_burnt(process, seconds):
    while sum(process.cpu_times()[:2]) < seconds - 0.05:
        assert process.is_running()
        time.sleep(0.02)


def test_what_descendants_use_is_not_others_and_what_anybody_else_uses_is():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        mine, strangers = machine(psutil.Process()), machine(psutil.Process(stranger.pid))
        before = others_s(mine), others_s(strangers)
        command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, BURN.format(2.0)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
            while not (grandchildren := psutil.Process(parent.pid).children()):
                time.sleep(0.02)
            wait_until_burnt(grandchildren[0], 2.0)
            of_mine, of_strangers = others_s(mine) - before[0], others_s(strangers) - before[1]
            parent.communicate(b"\n")
        stranger.communicate(b"\n")
    # Both saw what the rest of the machine did meanwhile; only to the stranger this test and its grandchild are others.
    assert of_strangers - of_mine == pytest.approx(2.0, abs=2 * LITTLE_S)


def test_a_process_that_ends_takes_nothing_back():
    meter = machine(psutil.Process())
    others_s(meter)
    with subprocess.Popen([sys.executable, "-c", BURN.format(1.5)], stdin=subprocess.PIPE) as child:
        wait_until_burnt(psutil.Process(child.pid), 1.5)
        before = others_s(meter)
        started = time.monotonic()
        child.communicate(b"\n")
    most_s = LITTLE_S + (time.monotonic() - started) * psutil.cpu_count()  # what others can have used meanwhile
    assert before <= others_s(meter) < before + most_s < before + 1.5
