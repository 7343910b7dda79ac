"""The conductor's side of a Toxiproxy server: a thin wrapper around `toxiproxy-python` that adds what it lacks.

`toxiproxy-python` 0.1.1 keeps the server's host and port in class attributes of its `APIConsumer`, so a process can
talk to **one** server at a time: the `ToxiproxyClient` that was made last decides which. It knows no timeouts, takes a
5xx answer for a success and cannot update a toxic; all three are added here, and every failure becomes a
`HarnessError`. Calls are synchronous (`requests` beneath).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import requests
from prometheus_client.parser import text_string_to_metric_families
from toxiproxy import Proxy, Toxiproxy
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from harness.errors import HarnessError

TIMEOUT_S = 5.0
_DIRECT = {"http": "", "all": ""}
"""Never through a web proxy that the user's environment names for other programs."""

Stream = Literal["upstream", "downstream"]
ByteKind = Literal["received", "sent"]

_BYTE_COUNTERS: Mapping[str, ByteKind] = {
    "toxiproxy_proxy_received_bytes_total": "received",
    "toxiproxy_proxy_sent_bytes_total": "sent",
}


@dataclass(frozen=True, slots=True)
class ProxyState:
    """A proxy as the server describes it; `listen` and `upstream` are `host:port`."""

    name: str
    listen: str
    upstream: str
    enabled: bool


class ToxiproxyError(HarnessError):
    """A Toxiproxy server refused a call, failed, or did not answer in `TIMEOUT_S`."""


class ProxyNotFoundError(ToxiproxyError):
    """The server knows no such proxy, or no such toxic."""


class ToxiproxyClient:
    """Talks to the Toxiproxy server at `host:port`; see the module for the one-server-per-process limit.

    Every method raises `ToxiproxyError` when the server refuses, fails or cannot be reached.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._server = Toxiproxy()
        self._server.update_api_consumer(host, port)

    def version(self) -> str:
        """The server's version (`2.12.0`; a server built from source says `git`)."""
        return str(APIConsumer.get("/version").json()["version"])

    def create(self, name: str, listen: str, upstream: str) -> str:
        """Create an enabled proxy; returns the `host:port` it really listens on (port 0 picks a free one)."""
        try:
            return str(self._server.create(upstream=upstream, name=name, listen=listen).listen)
        except ProxyExists as error:  # found by the library itself, before it asks the server
            raise ToxiproxyError(
                f"Toxiproxy at {self.host}:{self.port} has a proxy {name!r} already",
                remedy="is another run using this server?",
            ) from error

    def destroy(self, name: str) -> bool:
        """Remove a proxy with its connections; false when there is none of that name."""
        try:
            APIConsumer.delete(f"/proxies/{name}")
        except ProxyNotFoundError:
            return False
        return True

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type: str,
        stream: Stream,
        attributes: Mapping[str, int],
        toxicity: float = 1.0,
    ) -> None:
        """Put a toxic on a proxy; it acts on open connections at once."""
        toxic = {"name": name, "type": type, "stream": stream, "toxicity": toxicity, "attributes": dict(attributes)}
        try:
            # The library's own way asks for all proxies first, which makes a fault late.
            APIConsumer.post(f"/proxies/{proxy}/toxics", json=toxic)
        except ProxyNotFoundError:
            self._proxy(proxy)  # raises, and says which there are
            raise

    def update_toxic(self, proxy: str, name: str, attributes: Mapping[str, int], toxicity: float | None = None) -> None:
        """Change attributes (those not named stay as they are) and, unless None, the toxicity of a toxic."""
        body: dict[str, object] = {"attributes": dict(attributes)}
        if toxicity is not None:
            body["toxicity"] = toxicity
        APIConsumer.post(f"/proxies/{proxy}/toxics/{name}", json=body)

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """Take a toxic off; false when the proxy or the toxic is already gone, so calling it twice is harmless."""
        try:
            APIConsumer.delete(f"/proxies/{proxy}/toxics/{name}")
        except ProxyNotFoundError:
            return False
        return True

    def toxics(self, proxy: str) -> tuple[str, ...]:
        """The names of the toxics on a proxy, both directions."""
        return tuple(self._proxy(proxy).toxics())

    def set_enabled(self, proxy: str, enabled: bool) -> None:
        """Open or close a proxy; closing it drops its connections. Setting what is already set does nothing."""
        APIConsumer.post(f"/proxies/{proxy}", json={"enabled": enabled})

    def set_upstream(self, proxy: str, upstream: str) -> None:
        """Relay to another `host:port` from now on, on the same listen address and through the same toxics.

        A change drops the proxy's connections; setting what is already set does nothing.
        """
        APIConsumer.post(f"/proxies/{proxy}", json={"upstream": upstream})

    def drop_connections(self, proxy: str) -> None:
        """Close every connection through a proxy. New ones are refused for the moment this takes.

        A proxy that is disabled has none, and stays disabled.
        """
        known = self._proxy(proxy)
        if known.enabled:
            known.disable()
            known.enable()

    def proxies(self) -> dict[str, ProxyState]:
        """Every proxy on the server, by name."""
        return {name: _state(proxy) for name, proxy in self._server.proxies().items()}

    def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        self._server.reset()

    def metrics(self) -> dict[tuple[str, Stream, ByteKind], float]:
        """Bytes so far by (proxy, direction, `received` or `sent`), over all listeners a proxy has had.

        The Go server counts a connection only when it ends and needs `-proxy-metrics`; without it there is no such
        page and `ProxyNotFoundError` is raised. The embedded server counts as it goes.
        """
        totals: dict[tuple[str, Stream, ByteKind], float] = {}
        for family in text_string_to_metric_families(APIConsumer.get("/metrics").text):
            for sample in family.samples:
                kind = _BYTE_COUNTERS.get(sample.name)
                if kind is None:
                    continue
                direction: Stream = "upstream" if sample.labels["direction"] == "upstream" else "downstream"
                key = (sample.labels["proxy"], direction, kind)
                totals[key] = totals.get(key, 0.0) + sample.value
        return totals

    def _proxy(self, name: str) -> Any:
        proxy = self._server.get_proxy(name)
        if proxy is None:
            known = ", ".join(sorted(self._server.proxies())) or "none"
            raise ProxyNotFoundError(
                f"Toxiproxy at {self.host}:{self.port} has no proxy {name!r}", remedy=f"it has: {known}"
            )
        return proxy


def _state(proxy: Proxy) -> ProxyState:
    return ProxyState(proxy.name, proxy.listen, proxy.upstream, proxy.enabled)


def _checked(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """`call` (one of APIConsumer's verbs) with a timeout, and with every failure raised as a ToxiproxyError."""

    @functools.wraps(call)
    def checked(consumer: type[APIConsumer], url: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", TIMEOUT_S)
        options.setdefault("proxies", _DIRECT)
        where = f"Toxiproxy at {consumer.host}:{consumer.port}"
        try:
            response = call(consumer, url, **options)
        except requests.RequestException as error:
            raise ToxiproxyError(
                f"{where} did not answer {url}: {error}", remedy="is the proxy process still running?"
            ) from error
        except NotFound as error:
            raise ProxyNotFoundError(f"{where}: {url}: {_reason(error.args[0])}") from error
        except (ProxyExists, InvalidToxic) as error:
            raise ToxiproxyError(f"{where} refused {url}: {_reason(error.args[0])}") from error
        if response.status_code >= 400:
            raise ToxiproxyError(f"{where} failed {url}: {response.status_code} {_reason(response.content)}")
        return response

    return checked


def _reason(body: bytes | str) -> str:
    """The `error` of a Toxiproxy error body, or the body itself when it is none."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip()


# toxiproxy-python's own classes call these three class methods and pass no options on: this is the only seam it has.
for _verb in ("get", "post", "delete"):
    setattr(APIConsumer, _verb, classmethod(_checked(getattr(APIConsumer, _verb).__func__)))
