"""All proxies of a server by name, and the operations on them that the API offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.proxy import errors
from harness.proxy.address import Address, AddressError, resolve
from harness.proxy.errors import ApiError
from harness.proxy.proxy import Engine, Proxy


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """A proxy as a client asks for it."""

    name: str
    listen: str
    upstream: str
    enabled: bool


class PopulateError(ApiError):
    """Populating stopped at a proxy that could not be started; `done` are the ones before it."""

    def __init__(self, error: ApiError, done: Sequence[Proxy]) -> None:
        super().__init__(error.message, error.status)
        self.done = tuple(done)


class ProxyCollection:
    """The proxies of one server.

    Listen addresses may be host names, so operations that start a proxy await their lookup first and then act without
    a break: whatever happened meanwhile is looked at again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._proxies: dict[str, Proxy] = {}

    def all(self) -> dict[str, Proxy]:
        """Every proxy by name, sorted."""
        return dict(sorted(self._proxies.items()))

    def get(self, name: str) -> Proxy:
        """The proxy of that name. Raises ApiError."""
        try:
            return self._proxies[name]
        except KeyError:
            raise errors.proxy_not_found() from None

    async def create(self, spec: ProxySpec) -> Proxy:
        """Add a proxy and, if it is to be enabled, start it. Raises ApiError."""
        self._refuse_duplicate(spec.name)
        address = await _listen_address(spec.listen) if spec.enabled else None
        self._refuse_duplicate(spec.name)
        return self._add(spec, address)

    async def update(self, proxy: Proxy, listen: str, upstream: str, enabled: bool) -> None:
        """Give a proxy these settings; it is restarted, and its connections dropped, only if they differ.

        A new listen address that cannot be bound leaves the proxy disabled with that address. Raises ApiError.
        """
        address = await _resolved(listen)
        self._refuse_gone(proxy)
        if _differs(proxy, listen, address, upstream):
            proxy.stop()
            proxy.listen, proxy.upstream = listen, upstream
        if enabled and not proxy.enabled:
            _start(proxy, address)
        elif not enabled:
            proxy.stop()

    async def populate(self, specs: Sequence[ProxySpec]) -> tuple[Proxy, ...]:
        """Add proxies; one that is there keeps all it has when it is equal, else it is replaced.

        Raises PopulateError at the first that cannot be had.
        """
        done: list[Proxy] = []
        for spec in specs:
            try:
                done.append(await self._add_or_replace(spec))
            except ApiError as error:
                raise PopulateError(error, done) from error
        return tuple(done)

    def remove(self, name: str) -> None:
        """Stop and forget a proxy. Raises ApiError."""
        self.get(name).stop()
        del self._proxies[name]

    async def reset(self) -> None:
        """Enable every proxy and remove all toxics. Raises ApiError at the first that cannot be started."""
        for proxy in list(self._proxies.values()):
            if not proxy.enabled:
                address = await _listen_address(proxy.listen)
                if self._proxies.get(proxy.name) is proxy and not proxy.enabled:
                    _start(proxy, address)
            proxy.remove_all()

    def stop(self) -> None:
        """Stop every proxy."""
        for proxy in self._proxies.values():
            proxy.stop()

    async def _add_or_replace(self, spec: ProxySpec) -> Proxy:
        existing = self._proxies.get(spec.name)
        if existing is None:
            address = await _listen_address(spec.listen) if spec.enabled else None
        else:
            address = await _resolved(spec.listen)
        existing = self._proxies.get(spec.name)
        if existing is not None:
            if address is not None and not _differs(existing, spec.listen, address, spec.upstream):
                return existing
            existing.stop()
        return self._add(spec, address if spec.enabled else None)

    def _add(self, spec: ProxySpec, address: Address | None) -> Proxy:
        proxy = Proxy(spec.name, spec.listen, spec.upstream, self._engine)
        if address is not None:
            _start(proxy, address)
        self._proxies[spec.name] = proxy
        return proxy

    def _refuse_duplicate(self, name: str) -> None:
        if name in self._proxies:
            raise errors.proxy_exists()

    def _refuse_gone(self, proxy: Proxy) -> None:
        if self._proxies.get(proxy.name) is not proxy:
            raise errors.proxy_not_found()


def _differs(proxy: Proxy, listen: str, address: Address, upstream: str) -> bool:
    return proxy.listen != (str(address) if listen else "") or proxy.upstream != upstream


async def _resolved(listen: str) -> Address:
    try:
        return await resolve(listen)
    except AddressError as error:
        raise ApiError(str(error), 500) from None


async def _listen_address(listen: str) -> Address:
    try:
        return await resolve(listen)
    except AddressError as error:
        raise ApiError(f"listen tcp: {error}", 500) from None


def _start(proxy: Proxy, address: Address) -> None:
    try:
        proxy.start(address)
    except AddressError as error:
        raise ApiError(str(error), 500) from None
