"""Names are looked up anew for each connection, but a name server that hangs is asked once at a time."""

from __future__ import annotations

import asyncio

import pytest

from harness.proxy import dialer as dialer_module
from harness.proxy.address import AddressError
from harness.proxy.dialer import Dialer


def test_dials_at_the_same_time_share_a_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def scenario() -> None:
        answer = asyncio.Event()

        async def lookup(_host: str) -> list[str]:
            nonlocal asked
            asked += 1
            await answer.wait()
            raise AddressError("no such host")

        monkeypatch.setattr(dialer_module, "lookup", lookup)
        dialer = Dialer("db.example:5432")
        dials = [asyncio.ensure_future(dialer.dial(asyncio.Protocol)) for _ in range(50)]
        await asyncio.sleep(0)
        dials[0].cancel()
        await asyncio.sleep(0)
        assert asked == 1
        answer.set()
        outcomes = await asyncio.gather(*dials, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert {type(outcome) for outcome in outcomes[1:]} == {AddressError}
        with pytest.raises(AddressError):
            await dialer.dial(asyncio.Protocol)
        assert asked == 2

    asyncio.run(scenario())
