"""The HTTP API of Toxiproxy 2.12: its paths, bodies, answers and refusals."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.proxy import errors, gojson, toxics
from harness.proxy.collection import PopulateError, ProxyCollection, ProxySpec
from harness.proxy.errors import ApiError
from harness.proxy.gojson import Float32
from harness.proxy.http import Request, Response, plain_error
from harness.proxy.jsonscan import DecodeError, Object, Value, parse
from harness.proxy.link import PlacedToxic
from harness.proxy.proxy import Proxy
from harness.proxy.traffic import CONTENT_TYPE, Counters

VERSION = "2.12.0"

_JSON = "application/json"
_PROXY_FIELDS = {"name": gojson.text, "listen": gojson.text, "upstream": gojson.text, "enabled": gojson.boolean}
_POPULATE_TYPE = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'
_UPDATE_TYPE = 'struct { Attributes interface {} "json:\\"attributes\\""; Toxicity float32 "json:\\"toxicity\\"" }'

_Endpoint: TypeAlias = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Route:
    """A path with `{}` for each name in it, and what answers there by method (`*`: any)."""

    path: str
    methods: Mapping[str, _Endpoint]

    def match(self, path: str) -> tuple[str, ...] | None:
        pattern, given = self.path.split("/"), path.split("/")
        if len(pattern) != len(given):
            return None
        names = []
        for expected, part in zip(pattern, given, strict=True):
            if expected == "{}" and part:
                names.append(part)
            elif expected != part:
                return None
        return tuple(names)


class Api:
    """Answers requests by acting on a collection of proxies. `handle` is the handler for `harness.proxy.http`."""

    def __init__(self, proxies: ProxyCollection, counters: Counters) -> None:
        self._proxies = proxies
        self._counters = counters
        update_proxy, update_toxic = self._update_proxy, self._update_toxic
        toxic_path = "/proxies/{}/toxics/{}"
        self._routes = (
            _Route("/reset", {"POST": self._reset}),
            _Route("/populate", {"POST": self._populate}),
            _Route("/version", {"GET": self._version}),
            _Route("/metrics", {"*": self._metrics}),
            _Route("/proxies", {"GET": self._list_proxies, "POST": self._create_proxy}),
            _Route(
                "/proxies/{}",
                {
                    "GET": self._show_proxy,
                    "POST": update_proxy,
                    "PATCH": update_proxy,
                    "DELETE": self._delete_proxy,
                },
            ),
            _Route("/proxies/{}/toxics", {"GET": self._list_toxics, "POST": self._create_toxic}),
            _Route(
                toxic_path,
                {
                    "GET": self._show_toxic,
                    "POST": update_toxic,
                    "PATCH": update_toxic,
                    "DELETE": self._delete_toxic,
                },
            ),
        )

    async def handle(self, request: Request) -> Response:
        """Answer a request; never raises for what a client sent."""
        clean = _clean(request.path)
        if clean != request.path:
            return Response(301, headers={"Location": clean + (f"?{request.query}" if request.query else "")})
        for route in self._routes:
            names = route.match(request.path)
            if names is None:
                continue
            endpoint = route.methods.get(request.method) or route.methods.get("*")
            if endpoint is None:
                return Response(405)
            if request.headers.get("user-agent", "").startswith("Mozilla/"):
                return plain_error("User agent not allowed", 403)
            response = await _answered(endpoint(request, *names))
            # only /metrics takes HEAD: the headers of the page without the page
            return dataclasses.replace(response, body=b"") if request.method == "HEAD" else response
        return plain_error("404 page not found", 404)

    async def populate(self, body: bytes) -> tuple[Proxy, ...]:
        """Create the proxies that a JSON array asks for. Raises ApiError (PopulateError when some were created)."""
        return await self._proxies.populate(_specs(_parsed(body)))

    async def _version(self, _request: Request) -> Response:
        body = f'{{"version": "{VERSION}"}}\n'.encode()
        return Response(200, body, {"Content-Type": "application/json;charset=utf-8"})

    async def _metrics(self, _request: Request) -> Response:
        return Response(200, self._counters.page().encode(), {"Content-Type": CONTENT_TYPE})

    async def _reset(self, _request: Request) -> Response:
        await self._proxies.reset()
        return Response(204)

    async def _populate(self, request: Request) -> Response:
        try:
            done = await self.populate(request.body)
        except ApiError as error:
            created = error.done if isinstance(error, PopulateError) else ()
            return _json(
                {"error": error.message, "status": error.status, "proxies": _proxies_json(created)}, error.status
            )
        return _json({"proxies": _proxies_json(done)}, 201)

    async def _list_proxies(self, _request: Request) -> Response:
        return _json({name: _proxy_json(proxy) for name, proxy in self._proxies.all().items()})

    async def _create_proxy(self, request: Request) -> Response:
        fields = _proxy_fields(_parsed(request.body))
        for required in ("name", "upstream"):
            if not fields.get(required):
                raise errors.missing_field(required)
        return _json(_proxy_json(await self._proxies.create(_spec(fields))), 201)

    async def _show_proxy(self, _request: Request, name: str) -> Response:
        return _json(_proxy_json(self._proxies.get(name)))

    async def _update_proxy(self, request: Request, name: str) -> Response:
        proxy = self._proxies.get(name)
        fields = _proxy_fields(_parsed(request.body))
        await self._proxies.update(
            proxy,
            listen=fields.get("listen", proxy.listen),
            upstream=fields.get("upstream", proxy.upstream),
            enabled=fields.get("enabled", proxy.enabled),
        )
        return _json(_proxy_json(proxy))

    async def _delete_proxy(self, _request: Request, name: str) -> Response:
        self._proxies.remove(name)
        return Response(204)

    async def _list_toxics(self, _request: Request, name: str) -> Response:
        return _json([_toxic_json(placed) for placed in self._proxies.get(name).toxics])

    async def _create_toxic(self, request: Request, name: str) -> Response:
        proxy = self._proxies.get(name)
        placed = _new_toxic(proxy, _parsed(request.body))
        proxy.place(placed)
        return _json(_toxic_json(placed))

    async def _show_toxic(self, _request: Request, name: str, toxic: str) -> Response:
        return _json(_toxic_json(_toxic(self._proxies.get(name), toxic)))

    async def _update_toxic(self, request: Request, name: str, toxic: str) -> Response:
        proxy = self._proxies.get(name)
        changed = _changed_toxic(_toxic(proxy, toxic), _parsed(request.body))
        proxy.place(changed)
        return _json(_toxic_json(changed))

    async def _delete_toxic(self, _request: Request, name: str, toxic: str) -> Response:
        proxy = self._proxies.get(name)
        proxy.remove(_toxic(proxy, toxic))
        return Response(204)


async def _answered(answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except ApiError as error:
        body = gojson.dump({"error": error.message, "status": error.status})
        return plain_error(body, error.status)


def _clean(path: str) -> str:
    """The path as it should have been asked for: no `//`, `.` or `..`; a trailing slash stays."""
    if not path.startswith("/"):
        path = "/" + path
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _json(value: object, status: int = 200) -> Response:
    return Response(status, gojson.dump(value).encode("utf-8", "replace"), {"Content-Type": _JSON})


def _proxy_json(proxy: Proxy) -> dict[str, object]:
    return {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
        "toxics": [_toxic_json(placed) for placed in proxy.toxics],
    }


def _proxies_json(proxies: Sequence[Proxy]) -> list[dict[str, object]] | None:
    return [_proxy_json(proxy) for proxy in proxies] or None


def _toxic_json(placed: PlacedToxic) -> dict[str, object]:
    return {
        "attributes": placed.toxic.attributes(),
        "name": placed.name,
        "type": placed.toxic.TYPE,
        "stream": placed.stream,
        "toxicity": Float32(placed.toxicity),
    }


def _parsed(body: bytes) -> Value:
    try:
        return parse(body)
    except DecodeError as error:
        raise errors.bad_body(str(error)) from None


def _fields(value: Value, fields: Mapping[str, gojson.Convert], type_name: str, path: str = "") -> dict[str, Any]:
    try:
        return gojson.read_fields(value, fields, type_name=type_name, path=path)
    except DecodeError as error:
        raise errors.bad_body(str(error)) from None


def _proxy_fields(value: Value) -> dict[str, Any]:
    return _fields(value, _PROXY_FIELDS, "toxiproxy.Proxy")


def _spec(fields: Mapping[str, Any]) -> ProxySpec:
    return ProxySpec(fields["name"], fields.get("listen", ""), fields["upstream"], fields.get("enabled", True))


def _specs(value: Value) -> list[ProxySpec]:
    """The proxies to populate; all fields are checked before any is created."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise errors.bad_body(f"json: cannot unmarshal {gojson.kind(value)} into Go value of type []{_POPULATE_TYPE}")
    all_fields = [_fields(item, _PROXY_FIELDS, _POPULATE_TYPE) for item in value]
    for number, fields in enumerate(all_fields, start=1):
        for required in ("name", "upstream"):
            if not fields.get(required):
                raise errors.missing_field(f"{required} at proxy {number}")
    return [_spec(fields) for fields in all_fields]


def _toxic(proxy: Proxy, name: str) -> PlacedToxic:
    placed = proxy.toxic(name)
    if placed is None:
        raise errors.toxic_not_found()
    return placed


def _new_toxic(proxy: Proxy, value: Value) -> PlacedToxic:
    """Checks in the real server's order: body, stream, type, name, attributes."""
    wanted = {
        "attributes": _as_object("toxics.NoopToxic"),
        "name": gojson.text,
        "type": gojson.text,
        "stream": gojson.text,
        "toxicity": gojson.float32,
    }
    fields = _fields(value, wanted, "toxics.ToxicWrapper")
    stream = fields.get("stream", "downstream")
    if stream.lower() not in ("upstream", "downstream"):
        raise errors.invalid_stream()
    type_name = fields.get("type", "")
    name = fields.get("name") or f"{type_name}_{stream}"
    known = toxics.registered()
    if type_name not in known:
        raise errors.invalid_type()
    if proxy.toxic(name) is not None:
        raise errors.toxic_exists()
    toxic = _with_attributes(known[type_name](), value)
    return PlacedToxic(name, stream, fields.get("toxicity", 1.0), toxic)


def _changed_toxic(placed: PlacedToxic, value: Value) -> PlacedToxic:
    """Attributes are merged; name, type and stream stay what they are. All or nothing."""
    fields = _fields(value, {"toxicity": gojson.float32}, _UPDATE_TYPE)
    toxic = _with_attributes(placed.toxic, value)
    return dataclasses.replace(placed, toxic=toxic, toxicity=fields.get("toxicity", placed.toxicity))


def _with_attributes(toxic: toxics.Toxic, value: Value) -> toxics.Toxic:
    """`toxic` with every `attributes` object of the body on top, in order. Raises ApiError."""
    pairs = value.pairs if isinstance(value, Object) else ()
    try:
        for key, attributes in pairs:
            if key.casefold() == "attributes":
                toxic = toxic.updated(attributes)
    except DecodeError as error:
        raise errors.bad_body(str(error)) from None
    if problem := toxic.problem():
        raise errors.bad_body(problem)
    return toxic


def _as_object(wanted: str) -> gojson.Convert:
    def convert(value: Value) -> object:
        if not isinstance(value, Object):
            raise gojson.WrongTypeError(gojson.kind(value), wanted)
        return value

    return convert
