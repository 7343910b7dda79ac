"""A target's manifest, `targets/<name>/target.yaml`: what the stack consists of, and the choices it can be run with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from harness import units
from harness.errors import ScenarioError, nearest
from harness.scenario.document import Document, Keys
from harness.scenario.locations import AppUrl, Location, ServerUrl
from harness.scenario.source import read_file
from harness.scenario.types import Count, Duration, Flag, Name, SettingValue, Size, Standby, Text, kind_of
from harness.scenario.validation import validate

MANIFEST = "target.yaml"
CLIENT = "client"
RESERVED = (CLIENT, "service", "toxiproxy")
SettingType = Literal["integer", "number", "duration", "boolean", "string"]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_BOOLEANS = {"true": "1", "on": "1", "yes": "1", "1": "1", "false": "0", "off": "0", "no": "0", "0": "0"}


def _edge(value: object) -> tuple[str, str]:
    source, arrow, destination = value.partition("->") if isinstance(value, str) else ("", "", "")
    if not (source.strip() and arrow and destination.strip()):
        raise ValueError(f"expected an edge such as `app->postgres`, got {kind_of(value)}")
    return source.strip(), destination.strip()


Edge = Annotated[tuple[str, str], BeforeValidator(_edge)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Part):
    """One choice that decides how the target takes a fault; it reaches every process as the variable `env`."""

    type: SettingType
    default: SettingValue
    env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")] = Field(
        description="environment variable, in capitals; durations are passed as seconds, booleans as 1 or 0"
    )
    help: Text = Field(description="one line: what it decides")

    def to_environment(self, text: str) -> str:
        """The value as the process reads it: `250ms` is "0.25", `true` is "1". Raises ValueError."""
        match self.type:
            case "integer":
                if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                    raise ValueError(f"expected a whole number, got `{text}`")
                return str(int(text))
            case "number":
                if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", text):
                    raise ValueError(f"expected a number, got `{text}`")
                return text
            case "duration":
                return f"{units.parse_duration(text):.9f}".rstrip("0").rstrip(".")
            case "boolean":
                if text.lower() not in _BOOLEANS:
                    raise ValueError(f"expected true or false, got `{text}`")
                return _BOOLEANS[text.lower()]
            case "string":
                return text


class Server(_Part):
    """A real server: one that the harness boots on loopback, or one that runs already."""

    engine: Literal["postgres", "redis"]
    sentinel: Flag = Field(
        False, description="of redis: with a replica, and three sentinels that promote it if need be"
    )
    down_after: Duration = Field(1.0, description="how long a server is silent until a sentinel takes it to be down")
    standby: Standby = Field(
        None,
        description="of postgres: a second server, `NAME-standby`, streams from it; when synchronous, nothing is "
        "acknowledged before it was sent there",
    )
    disk: Size | None = Field(
        None,
        description="of postgres: its data is on a disk in memory of that size, as root; it can be filled",
    )
    url: ServerUrl | None = Field(None, description="where it runs already; absent: the harness boots one")

    def problems(self) -> Iterator[tuple[str, str]]:
        """What does not go together, each with the key that is to be changed."""
        if self.url is not None and not self.url.scheme.startswith(self.engine):
            yield "url", f"`{self.url.scheme}://` is no URL of a {self.engine} server"
        if self.sentinel and self.engine != "redis":
            yield "sentinel", "sentinels watch over Redis only"
        if self.standby and self.engine != "postgres":
            yield "standby", "only postgres can have one"
        for key in ("sentinel", "standby"):
            if self.url is not None and getattr(self, key):
                yield key, f"`{key}` is for servers that the harness starts; this one runs already"
        if self.disk and (self.url is not None or self.engine != "postgres" or self.standby):
            yield "disk", "`disk` is for a postgres server without a standby that the harness starts"


class Command(_Part):
    """A command with its environment; placeholders in braces are filled in when it is started."""

    command: tuple[str, ...] = Field(min_length=1)
    environment: dict[str, str] = Field(default_factory=dict)


class Audit(Command):
    """The program that looks up, after each arm, what clients were told is stored.

    It reads the names of these writes from standard input, one on each line, and prints a JSON object: `missing` and
    `doubled`, lists of names, and `unacknowledged`, how many writes it found that no client was told of, or null.
    """

    endpoint: str = Field(description="whose answers with a status of 200 to 299 say that a write is stored")
    key: Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")] = Field(
        description="the request header that names the write, such as Idempotency-Key"
    )


class Process(Command):
    """A component that is the target's own program: started in one or more replicas, or running already at `url`.

    While the fault `memory-leak` is on, the file {memory} says how many bytes a replica holds, the leak included, as
    `memory.current` of its control group would; otherwise there is no such file.
    """

    command: tuple[str, ...] = ()
    url: AppUrl | None = Field(None, description="where it runs already, instead of a command; plain http")
    replicas: Count = 1
    ready: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = Field(
        description="path that answers 200 when the process can serve; on the management port if it has one"
    )
    management: Flag = Field(False, description="it listens on {management_port} too: /metrics, readiness")
    disk: Size | None = Field(
        None, description="each replica finds a folder at {disk}, a disk in memory of that size as root"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Process:
        if bool(self.command) == (self.url is not None):
            raise ValueError("needs a `command`, or the `url` of something that runs already (not both)")
        told = sorted({"environment", "replicas", "management", "disk"} & self.model_fields_set)
        if self.url is not None and told:
            raise ValueError(f"`{told[0]}` is for processes that the harness starts; this one runs already")
        return self


class Manifest(_Part):
    """What target.yaml may say."""

    name: Name
    description: Text = Field(description="one line")
    settings: dict[str, Setting] = Field(default_factory=dict)
    presets: dict[Name, dict[str, SettingValue]] = Field(default_factory=dict, description="settings, by variant")
    servers: dict[Name, Server] = Field(default_factory=dict)
    processes: dict[Name, Process] = Field(min_length=1)
    edges: tuple[Edge, ...] = Field((), description="`source->destination`; each gets a proxy")
    entry: str = Field(description="the component that clients talk to")
    reset: Command | None = Field(None, description="brings the data to its first state; run before every arm")
    audit: Audit | None = Field(None, description="looks up acknowledged writes after every arm")
    dependencies: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="endpoint -> the components it has a declared path to"
    )
    component_dependencies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    retries: dict[str, str] = Field(
        default_factory=dict, description="edge -> the setting of type integer that says how often a call is made again"
    )
    waits: tuple[str, ...] = Field(
        (), description="settings of type duration that say how long a request may wait for something inside the target"
    )
    shared_resources: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="what endpoints share without depending on each other"
    )
    hosts: tuple[str, ...] = Field(
        (), description="other machines that load and faults may reach; only this one when absent"
    )


class Target(Manifest):
    """A manifest that was checked, with the folder it stands in; perhaps spread over `regions`.

    `toxiproxy` is the `host:port` of a Toxiproxy server to use, "" to start one. `data` says what to do with data that
    is not the harness's: `reset` it, `keep` it; "" when nobody has said.
    """

    folder: Path
    toxiproxy: str = ""
    data: Literal["", "reset", "keep"] = ""
    regions: tuple[str, ...] = ()

    @property
    def resets(self) -> bool:
        """Whether the reset command is run before every arm: not on anybody's data without being told."""
        return self.reset is not None and (self.data == "reset" or (not self.data and self.is_whole))

    @property
    def is_whole(self) -> bool:
        """Whether the harness starts every component, so that data and processes are its own."""
        return all(map(self.is_ours, self.components))

    def is_ours(self, component: str) -> bool:
        """Whether the harness starts the component. What an app that runs already calls runs already, too."""
        return self.location(component) is None and self.location(self.entry) is None

    def location(self, component: str) -> Location | None:
        """Where the component runs already, as far as that was said."""
        if component in self.standbys.values():
            return None
        name = self.entries[0] if component == self.entry else component
        return self.servers[name].url if name in self.servers else self.processes[name].url

    @property
    def existing(self) -> dict[str, str]:
        """Where what runs already is, for people and records."""
        foreign = (name for name in self.components if not self.is_ours(name))
        named = {name: str(self.location(name) or "an address that nobody has named") for name in foreign}
        return {**named, **({"toxiproxy": self.toxiproxy} if self.toxiproxy else {})}

    @property
    def proxied_edges(self) -> tuple[str, ...]:
        """The edges with a proxy: that of the clients, and those of processes that can be told to call it.

        What runs already calls a proxy only where somebody has put one: in the Toxiproxy server that was named.
        """
        return tuple(
            edge
            for edge in self.edge_names
            if (source := edge.partition("->")[0]) == CLIENT or self.is_ours(source) or self.toxiproxy
        )

    @property
    def entries(self) -> tuple[str, ...]:
        """The components that serve what clients send: the entry, or that of each region."""
        return tuple(f"{self.entry}-{region}" for region in self.regions) or (self.entry,)

    def region_of(self, component: str) -> str:
        """The region that a component is in; "" without regions."""
        return next((region for region in self.regions if component.endswith(f"-{region}")), "")

    def in_region(self, region: str) -> tuple[str, ...]:
        """All components of a region."""
        return tuple(name for name in self.components if self.region_of(name) == region)

    @property
    def components(self) -> tuple[str, ...]:
        """Servers and processes."""
        return (*self.servers, *self.processes)

    @property
    def edge_names(self) -> tuple[str, ...]:
        """All edges as `source->destination`, that of the clients to the entry first."""
        return tuple(f"{source}->{destination}" for source, destination in self.all_edges)

    @property
    def all_edges(self) -> tuple[tuple[str, str], ...]:
        """All edges: the clients', those of the manifest, and those over which standbys follow their servers."""
        return ((CLIENT, self.entry), *self.edges, *((standby, name) for name, standby in self.standbys.items()))

    @property
    def standbys(self) -> dict[str, str]:
        """Server -> its standby, for those that have one; what an app that runs already calls has none of ours."""
        entry = self.processes.get(self.entry)
        ours = entry is not None and entry.url is None
        return {name: f"{name}-standby" for name, server in self.servers.items() if server.standby and ours}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of the requests that clients make."""
        return tuple(self.dependencies)

    def component_protocol(self, name: str) -> Literal["postgres", "redis", "http"]:
        """What the component speaks. Raises KeyError for an unknown one."""
        if name in self.servers:
            return self.servers[name].engine
        if name not in self.processes and name != self.entry:
            raise KeyError(name)
        return "http"

    def instances(self, component: str) -> tuple[str, ...]:
        """Names of a component's processes: `app-1`, `app-2`; just `auth` when there is one."""
        if self.regions and component == self.entry:
            return tuple(name for entry in self.entries for name in self.instances(entry))
        replicas = self.processes[component].replicas if component in self.processes else 1
        if replicas == 1 and component not in self.entries:
            return (component,)
        return tuple(f"{component}-{number}" for number in range(1, replicas + 1))

    def component_of(self, place: str) -> str:
        """The component that a place is or belongs to: `app` of `app` and of `app-1`. Raises KeyError."""
        if place in self.components:
            return place
        return {instance: name for name in self.components for instance in self.instances(name)}[place]

    def capabilities(self, component: str) -> frozenset[str]:
        """What faults can count on there, of `harness.faults.base.CAPABILITIES`."""
        if not self.is_ours(component):
            return frozenset()
        found = {"process"}
        if len(self.instances(component)) > 1:
            found.add("replicas")
        if component in self.servers and self.servers[component].sentinel:
            found.add("sentinel")
        if component in self.standbys:
            found.add("standby")
        if self.disk_of(component):
            found.add("disk")
        return frozenset(found)

    def disk_of(self, component: str) -> float | None:
        """The size in bytes of the disk that each process of a component has for itself, if it has one."""
        part = self.servers.get(component) or self.processes.get(component)
        return part.disk if part is not None else None

    def down_after_s(self, component: str) -> float:
        """How long a server that sentinels watch is silent until they take it to be down."""
        return self.servers[component].down_after

    def check_setting(self, name: str, value: str) -> None:
        """Raise ValueError unless the target has that setting and the value fits its type."""
        if name not in self.settings:
            raise ValueError(f"unknown setting `{name}`; {nearest(name, self.settings)}")
        self.settings[name].to_environment(value)

    def values(self, preset: str, overrides: Mapping[str, str]) -> dict[str, str]:
        """Every setting as written: the defaults, over them the preset ("" for none), over it `overrides`."""
        defaults = {name: setting.default for name, setting in self.settings.items()}
        return {**defaults, **(self.presets[preset] if preset else {}), **overrides}

    def longest_wait_s(self, preset: str, overrides: Mapping[str, str]) -> float:
        """The longest that a request may wait inside the target, by the settings that `waits` names; 0 without any."""
        values = self.values(preset, overrides)
        return max((units.parse_duration(values[name]) for name in self.waits), default=0.0)

    def variables(self, values: Mapping[str, str]) -> dict[str, str]:
        """Some settings as environment variables. Raises KeyError, and ValueError for a value of the wrong type."""
        return {self.settings[name].env: self.settings[name].to_environment(text) for name, text in values.items()}

    def environment(self, preset: str, overrides: Mapping[str, str]) -> dict[str, str]:
        """The settings as environment variables. Raises ValueError for a value of the wrong type."""
        return self.variables(self.values(preset, overrides))


def load_target(name_or_path: str | Path, search: Sequence[Path] = ()) -> Target:
    """A target by the path of its folder or manifest, or by its name in one of the folders of `search`.

    Raises ScenarioError: not found, or anything wrong in the manifest.
    """
    try:
        for candidate in (Path(name_or_path), *(folder / name_or_path for folder in search)):
            manifest = candidate / MANIFEST if candidate.is_dir() else candidate
            if manifest.is_file():
                return _read(manifest)
    except OSError as error:
        raise ScenarioError(f"the target `{name_or_path}` cannot be read: {error.strerror}") from error
    known = {found.parent.name for folder in search for found in folder.glob(f"*/{MANIFEST}")}
    raise ScenarioError(f"no target `{name_or_path}`", remedy=nearest(str(name_or_path), known))


def _read(file: Path) -> Target:
    document = read_file(file)
    manifest = validate(Manifest, document)
    target = Target.model_construct(folder=file.resolve().parent, **dict(manifest))
    _check_settings(target, document)
    _check_components(target, document)
    for name, process in target.processes.items():
        _check_placeholders(document, ("processes", name), process, _placeholders_of(target, name))
    if target.reset:
        _check_placeholders(document, ("reset",), target.reset, _placeholders(target, ()))
    if target.audit:
        _check_known(document, ("audit", "endpoint"), [target.audit.endpoint], target.dependencies, "endpoint")
        _check_placeholders(document, ("audit",), target.audit, _placeholders(target, target.edges))
    return target


def _check_settings(target: Target, document: Document) -> None:
    taken: dict[str, str] = {}
    for name, setting in target.settings.items():
        check_value(target, document, ("settings", name, "default"), name, setting.default)
        if setting.env in taken:
            raise document.error(("settings", name, "env"), f"`{setting.env}` is the variable of {taken[setting.env]}")
        taken[setting.env] = name
    for preset, values in target.presets.items():
        for name, value in values.items():
            check_value(target, document, ("presets", preset, name), name, value)
    durations = [name for name, setting in target.settings.items() if setting.type == "duration"]
    integers = [name for name, setting in target.settings.items() if setting.type == "integer"]
    for edge, name in target.retries.items():
        _check_known(document, ("retries", edge), [edge], target.edge_names, "edge")
        _check_known(document, ("retries", edge), [name], integers, "setting of type integer")
    for index, name in enumerate(target.waits):
        _check_known(document, ("waits", index), [name], durations, "setting of type duration")


def check_value(target: Target, document: Document, path: Keys, name: str, value: str) -> None:
    """Raise ScenarioError at `path` unless `name` is a setting of the target and `value` fits its type."""
    if name not in target.settings:
        raise document.key_error(path, "unknown setting", remedy=nearest(name, target.settings))
    try:
        target.settings[name].to_environment(value)
    except ValueError as error:
        raise document.error(path, str(error), remedy=target.settings[name].help) from error


def _check_components(target: Target, document: Document) -> None:
    for kind, names in (("servers", target.servers), ("processes", target.processes)):
        for name in names:
            if name in RESERVED:
                raise document.key_error((kind, name), "the name is taken by the harness", remedy="choose another")
            if kind == "processes" and name in target.servers:
                raise document.key_error((kind, name), "is a server already", remedy="choose another name")
    check_servers(target, document, ())
    if target.entry not in target.processes:
        raise document.error(("entry",), f"no process `{target.entry}`", remedy=nearest(target.entry, target.processes))
    for index, (source, destination) in enumerate(target.edges):
        _check_known(document, ("edges", index), [source], target.processes)
        _check_known(document, ("edges", index), [destination], target.components)
        if target.edges.index((source, destination)) != index:
            raise document.error(("edges", index), "the edge is there twice")
    for endpoint, components in target.dependencies.items():
        _check_known(document, ("dependencies", endpoint), components, target.components)
    for name, components in target.component_dependencies.items():
        _check_known(document, ("component_dependencies", name), [name, *components], target.components)
    for resource, endpoints in target.shared_resources.items():
        _check_known(document, ("shared_resources", resource), endpoints, target.dependencies, "endpoint")


def check_servers(target: Target, document: Document, path: Keys) -> None:
    """Raise ScenarioError, below `path`, for what a server can't be or have."""
    for name, server in target.servers.items():
        for key, problem in server.problems():
            raise document.error((*path, "servers", name, key), problem, remedy="leave it out")
    for name, standby in target.standbys.items():
        if standby in target.components:
            raise document.error(
                (*path, "servers", name, "standby"),
                f"`{standby}` would be the name of a standby, and is that of another component",
                remedy="rename one of the two in target.yaml",
            )


def _check_known(
    document: Document, path: Keys, names: Iterable[str], known: Iterable[str], what: str = "component"
) -> None:
    allowed = list(known)
    for name in names:
        if name not in allowed:
            raise document.error(path, f"no {what} `{name}`", remedy=nearest(name, allowed))


def _placeholders(target: Target, edges: Iterable[tuple[str, str]]) -> set[str]:
    """What may stand in braces where the servers themselves are known, and some edges."""
    allowed = {"python", "target", *target.servers, *(f"{name}.url" for name in target.servers)}
    for source, destination in edges:
        edge = f"{source}->{destination}"
        allowed |= {edge, f"{edge}.url"} if destination in target.servers else {edge}
    return allowed


def _placeholders_of(target: Target, component: str) -> set[str]:
    process = target.processes[component]
    allowed = _placeholders(target, [edge for edge in target.edges if edge[0] == component])
    allowed |= {"port", "replica", "memory"}
    return allowed | ({"management_port"} if process.management else set()) | ({"disk"} if process.disk else set())


def _check_placeholders(document: Document, path: Keys, command: Command, allowed: set[str]) -> None:
    texts: list[tuple[Keys, str]] = [((*path, "command", index), text) for index, text in enumerate(command.command)]
    texts += [((*path, "environment", name), text) for name, text in command.environment.items()]
    for where, text in texts:
        for placeholder in _PLACEHOLDER.findall(text):
            if placeholder not in allowed:
                raise document.error(
                    where, f"unknown placeholder `{{{placeholder}}}`", remedy=_why(placeholder, allowed)
                )


def _why(placeholder: str, allowed: set[str]) -> str:
    if placeholder == "management_port":
        return "it exists where the process says `management: true`"
    hint = "only edges that start at the process itself can be used here; " if "->" in placeholder else ""
    return hint + nearest(placeholder, allowed)
