"""How a virtual user's greenlet waits in the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.hub import Hub
from greenlet import greenlet


def wait_in(hub: Hub) -> Callable[[], Any]:
    """A function that waits in `hub` until the calling greenlet is switched to, and returns what it is given then.

    It is `hub.switch` without the search for a `switch_out` of the caller's, which virtual users don't have and gevent
    looks for at each switch.
    """
    wait: Callable[[], Any] = greenlet.switch.__get__(hub, Hub)
    return wait
