"""A load worker's link to whoever conducts it: events go out on standard output, commands come in on standard input."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from gevent.event import AsyncResult, Event
from gevent.hub import get_hub

from harness.plan import RetryStorm


class Link:
    """The pipe to the conductor: says events on one end, hears `go` and `stop` on the other.

    Standard output is taken for the events alone: whatever a locustfile prints goes to standard error. `storms` are
    those that it was told of and not told to forget, by name.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)
        self.go: AsyncResult = AsyncResult()
        self.stop = Event()
        self.storms: dict[str, RetryStorm] = {}

    def say(self, event: str, **fields: Any) -> None:
        """Send one event; a conductor that is gone is noticed by `listen`."""
        line = json.dumps({"event": event, **fields}) + "\n"
        try:
            os.write(self._out, line.encode())
        except BrokenPipeError:
            self.stop.set()

    def listen(self) -> None:
        """Hear what comes on standard input until its end, which means stop."""
        watcher = get_hub().loop.io(0, 1)
        heard = b""
        while True:
            get_hub().wait(watcher)
            data = os.read(0, 4096)
            if not data:
                break
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))
        self.stop.set()

    def _obey(self, message: dict[str, Any]) -> None:
        if "go" in message:
            self.go.set(int(message["go"]))
        if "storm" in message:
            fields = message["storm"]
            self.storms[message["name"]] = RetryStorm(**{**fields, "endpoints": tuple(fields["endpoints"])})
        if "calm" in message:
            self.storms.pop(message["calm"], None)
        if message.get("stop"):
            self.stop.set()
