from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

import pytest

from harness.proxy.timers import EARLY_NS, NEVER_NS, Timers

MS = 1_000_000


def in_loop(body: Callable[[Timers], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        timers = Timers(asyncio.get_running_loop())
        try:
            await body(timers)
        finally:
            timers.close()

    asyncio.run(run())


def test_calls_come_in_order_and_hardly_early() -> None:
    async def body(timers: Timers) -> None:
        now_ns = time.monotonic_ns()
        calls: list[tuple[int, int]] = []
        for delay_ms in (30, 10, 20, 0, -5):
            when_ns = now_ns + delay_ms * MS
            timers.call_at(when_ns, lambda d=delay_ms, w=when_ns: calls.append((d, time.monotonic_ns() - w)))
        assert calls == []
        await asyncio.sleep(0.1)
        assert [delay for delay, _ in calls] == [-5, 0, 10, 20, 30]
        assert all(late_ns >= -EARLY_NS for _, late_ns in calls)
        assert len(timers) == 0

    in_loop(body)


def test_a_cancelled_call_is_not_made() -> None:
    async def body(timers: Timers) -> None:
        calls: list[str] = []
        dropped = timers.call_at(time.monotonic_ns() + 5 * MS, lambda: calls.append("dropped"))
        timers.call_at(time.monotonic_ns() + 10 * MS, lambda: calls.append("made"))
        dropped.cancel()
        dropped.cancel()
        await asyncio.sleep(0.05)
        assert calls == ["made"]

    in_loop(body)


def test_restarted_timers_do_not_pile_up() -> None:
    async def body(timers: Timers) -> None:
        for _ in range(10_000):
            timers.call_at(NEVER_NS * 2, lambda: None).cancel()
        assert len(timers) < 200

    in_loop(body)


def test_a_call_that_fails_does_not_stop_the_others() -> None:
    async def body(timers: Timers) -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
        calls: list[str] = []

        def fail() -> None:
            raise ZeroDivisionError

        now_ns = time.monotonic_ns()
        timers.call_at(now_ns, fail)
        timers.call_at(now_ns, lambda: calls.append("made"))
        await asyncio.sleep(0.05)
        assert calls == ["made"]
        assert [type(failure) for failure in failures] == [ZeroDivisionError]

    in_loop(body)


@pytest.mark.parametrize("within_ms", [1, 3])
def test_a_call_may_set_the_next(within_ms: int) -> None:
    async def body(timers: Timers) -> None:
        ticks: list[int] = []

        def tick() -> None:
            ticks.append(time.monotonic_ns())
            if len(ticks) < 5:
                timers.call_at(ticks[-1] + within_ms * MS, tick)

        tick()
        await asyncio.sleep(0.1)
        assert len(ticks) == 5

    in_loop(body)


def test_calls_that_set_the_next_for_now_leave_the_loop_to_others() -> None:
    async def body(timers: Timers) -> None:
        count = 0

        def again() -> None:
            nonlocal count
            count += 1
            timers.call_at(time.monotonic_ns() - 1, again)

        again()
        await asyncio.sleep(0.05)
        assert count > 10

    in_loop(body)
