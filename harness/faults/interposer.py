"""An HTTP interposer: stands between an edge's proxy and the far end for the time of a fault, in a process of its own.

    python -m harness.faults.interposer SPEC

SPEC is JSON: `{"listen": "host:port", "upstream": "host:port", "fault": id, "path": prefix, "seed": int, "rule": {}}`,
the rule as in `harness.faults.rules`. Every request that the rule does not touch passes unchanged to the byte, and so
do its answer, the order of both, and the life of the connection; each client's connection has one of its own to the
upstream. What is no HTTP passes too. The process ends by a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import uvloop

from harness.faults.framing import Framing, Head, NotHttpError, UntilClosed, read_answer, read_request
from harness.faults.rules import Dribble, Reply, Rule, make_rule
from harness.probes import split

PROBE = "x-harness-probe"
"""A request with this field is a probe: the value names the fault that is to treat it; every other leaves it alone."""
MARK = "X-Harness-Fault"
"""The field by which an answer of a fault can be told from one of the far end."""
READ_BYTES = 65536
DRIBBLED_MOST_BYTES = 1 << 20
DROP_S = 0.05


class Interposer:
    """Serves the clients of one edge."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.fault = str(spec["fault"])
        self._upstream = split(spec["upstream"])
        self._path = str(spec["path"])
        # Probes have dice and buckets of their own: looking must not change what is seen.
        self._rule = make_rule(spec["rule"], f"{spec['seed']} {self.fault}")
        self._probed = make_rule(spec["rule"], f"{spec['seed']} {self.fault} probes", sparing=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first request to the end of its connection."""
        client = Wire(reader, writer)
        upstream: Wire | None = None
        # A client or an upstream that goes away, or that makes no sense, is the end of both, and nothing to tell.
        with contextlib.suppress(OSError, EOFError, NotHttpError):
            try:
                upstream = Wire(*await asyncio.open_connection(*self._upstream))
                await Conversation(self, client, upstream).run()
            finally:
                client.close()
                if upstream is not None:
                    upstream.close()

    def treat(self, request: Head) -> Reply | Dribble | None:
        """What is to happen to a request; None: nothing."""
        probed = request.field(PROBE)
        if probed not in ("", self.fault) or not request.target.startswith(self._path):
            return None
        rule: Rule = self._probed if probed else self._rule
        return rule.treat()


class Conversation:
    """The requests of one connection, one after the other."""

    def __init__(self, interposer: Interposer, client: Wire, upstream: Wire) -> None:
        self._interposer = interposer
        self._client = client
        self._upstream = upstream

    async def run(self) -> None:
        """Until either side is done. Raises OSError or EOFError when one of them breaks off."""
        while await self._is_asked():
            try:
                head = await self._client.head()
                request = read_request(head)
            except NotHttpError:
                await self._tunnel()
                return
            self._client.take(len(head))
            treatment = self._interposer.treat(request)
            if isinstance(treatment, Reply):
                goes_on = await self._reply(request, treatment)
            else:
                goes_on = await self._pass_on(head, request, treatment)
            if not goes_on:
                return

    async def _is_asked(self) -> bool:
        """Wait for a request; False when the connection is over before one comes."""
        if not self._client.buffer:
            await asyncio.wait({self._client.reading(), self._upstream.reading()}, return_when=asyncio.FIRST_COMPLETED)
            if self._upstream.reading().done():
                # It closes an idle connection, perhaps with a word of farewell.
                while await self._upstream.more():
                    await self._client.send(self._upstream.take())
                return False
            return await self._client.more()
        return True

    async def _reply(self, request: Head, reply: Reply) -> bool:
        """Answer in the far end's stead. The request's body is read, so that the connection can go on."""
        closes = request.closes or request.field("expect") != ""
        if not closes:
            async for _ in self._client.message(request.framing):
                continue
        body = f"{reply.status} by the fault {self._interposer.fault}\n".encode()
        fields = {
            **reply.fields,
            "Content-Type": "text/plain",
            "Content-Length": str(len(body)),
            MARK: self._interposer.fault,
            "Connection": "close" if closes else "keep-alive",
        }
        head = f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        await self._client.send(head.encode() + (b"" if request.method == "HEAD" else body))
        return not closes

    async def _pass_on(self, head: bytes, request: Head, dribble: Dribble | None) -> bool:
        await self._upstream.send(head)
        sending = asyncio.ensure_future(self._send_body(request.framing))
        try:
            goes_on = await self._answer(request, dribble) and not request.closes
            if goes_on:
                await sending
            return goes_on
        finally:
            sending.cancel()

    async def _send_body(self, framing: Framing) -> None:
        async for part in self._client.message(framing):
            await self._upstream.send(part)
        # Nothing is asked of it now; a client that goes away takes the upstream's connection along, as a proxy does.
        self._client.reading().add_done_callback(self._check_gone)

    def _check_gone(self, read: asyncio.Future[bytes]) -> None:
        if read.cancelled() or read.exception() is not None or not read.result():
            self._upstream.abort()

    async def _answer(self, request: Head, dribble: Dribble | None) -> bool:
        while True:
            head = await self._upstream.head()
            answer = read_answer(head, to=request.method)
            await self._client.send(self._upstream.take(len(head)))
            if answer.status == 101:
                await self._tunnel()
                return False
            if answer.status >= 200:
                break
        body = self._upstream.message(answer.framing)
        if dribble is not None:
            await self._dribble(body, dribble)
        async for part in body:
            await self._client.send(part)
        return not answer.closes and not isinstance(answer.framing, UntilClosed)

    async def _dribble(self, body: AsyncIterator[bytes], dribble: Dribble) -> None:
        """Pass on the beginning of a body, mostly all of it, drop by drop; the last drop comes when the time is up."""
        held = b""
        async for part in body:
            held += part
            if len(held) >= DRIBBLED_MOST_BYTES:
                break
        loop = asyncio.get_running_loop()
        start = loop.time()
        drops = max(1, min(len(held), round(dribble.takes_s / DROP_S)))
        for number in range(drops):
            due = start + dribble.takes_s * (number + 1) / drops
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._client.send(held[len(held) * number // drops : len(held) * (number + 1) // drops])

    async def _tunnel(self) -> None:
        """Pass everything both ways from now on."""

        async def carry(source: Wire, sink: Wire) -> None:
            if source.buffer:
                await sink.send(source.take())
            while await source.more():
                await sink.send(source.take())

        ways = {
            asyncio.ensure_future(carry(self._client, self._upstream)),
            asyncio.ensure_future(carry(self._upstream, self._client)),
        }
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()


class Wire:
    """One side of a conversation, with what has been read from it and not been used."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.buffer = b""
        self._reader = reader
        self._writer = writer
        self._read: asyncio.Future[bytes] | None = None

    def reading(self) -> asyncio.Future[bytes]:
        """The read that is under way; one is begun if there is none."""
        if self._read is None:
            self._read = asyncio.ensure_future(self._reader.read(READ_BYTES))
        return self._read

    async def more(self) -> bool:
        """Read on; False at the end."""
        data = await self.reading()
        self._read = None
        self.buffer += data
        return bool(data)

    def take(self, size: int | None = None) -> bytes:
        """The first bytes of what has been read, or all of it."""
        taken, self.buffer = self.buffer[:size], b"" if size is None else self.buffer[size:]
        return taken

    async def head(self) -> bytes:
        """The next head, its empty line included, left in the buffer. Raises EOFError, NotHttpError for a huge one."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > READ_BYTES:
                raise NotHttpError("no end of the head")
            if not await self.more():
                raise EOFError
        return self.buffer[: end + 4]

    async def message(self, framing: Framing) -> AsyncIterator[bytes]:
        """The rest of a message as it comes. Raises EOFError when it breaks off."""
        while not framing.over:
            if size := framing.advance(self.buffer):
                yield self.take(size)
            elif not await self.more():
                if isinstance(framing, UntilClosed):
                    return
                raise EOFError

    async def send(self, data: bytes) -> None:
        """Write, and wait while the other end is slow to read."""
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """Close, when what was sent has gone."""
        if self._read is not None:
            self._read.cancel()
        self._writer.close()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Fault"


async def main(spec: dict[str, Any]) -> None:
    """Serve until a signal comes."""
    server = await asyncio.start_server(Interposer(spec).serve, *split(spec["listen"]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
