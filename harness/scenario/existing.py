"""What runs already and is used instead of being started: an app, PostgreSQL, Redis, a Toxiproxy server.

It belongs to somebody. So it is never killed, its data is never reset without being told, and unless it is on this
machine its host must be listed by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import ScenarioError
from harness.probes import split
from harness.scenario.locations import Location
from harness.scenario.manifest import Process, Server, Target

Data = Literal["", "reset", "keep"]
_OPTIONS = {"postgresql": "--postgres", "redis": "--redis"}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Existing:
    """What the command line names: URLs, a Toxiproxy server's `host:port`, and what to do with the data."""

    target: Location | None = None
    postgres: Location | None = None
    redis: Location | None = None
    toxiproxy: str = ""
    data: Data = ""

    @classmethod
    def of(
        cls, target: str | None, postgres: str | None, redis: str | None, toxiproxy: str | None, data: str | None
    ) -> Existing:
        """From the options as they were typed; None is absent. Raises ScenarioError, naming the option."""
        return cls(
            _parse("--target", target, "http"),
            _parse("--postgres", postgres, "postgresql"),
            _parse("--redis", redis, "redis"),
            _address("--toxiproxy", toxiproxy),
            "reset" if data == "reset" else "keep" if data == "keep" else "",
        )

    def to_json(self) -> dict[str, str]:
        """What was named, by option, without passwords."""
        named = {
            "target": self.target,
            "postgres": self.postgres,
            "redis": self.redis,
            "toxiproxy": self.toxiproxy,
            "data": self.data,
        }
        return {option: str(value) for option, value in named.items() if value}


NOTHING = Existing()


def with_existing(target: Target, existing: Existing, hosts: Sequence[str] = ()) -> Target:
    """The target with what runs already in the place of what would be started.

    `hosts` may be used besides those that the manifest lists. Raises ScenarioError for what can't or mustn't be used.
    """
    servers, processes = dict(target.servers), dict(target.processes)
    for location in (existing.postgres, existing.redis):
        if location is not None:
            servers[_server(target, location)] = Server(engine=_engine(location), url=location)
    if existing.target is not None:
        processes[target.entry] = Process(url=existing.target, ready=processes[target.entry].ready)
    changed = target.model_copy(
        update={
            "servers": servers,
            "processes": processes,
            "toxiproxy": existing.toxiproxy,
            "data": existing.data,
        }
    )
    _check_hosts(changed, (*target.hosts, *hosts))
    _check_logins(changed)
    _check_data(changed)
    return changed


def _parse(option: str, text: str | None, scheme: str) -> Location | None:
    try:
        return None if text is None else Location.parse(text, scheme)
    except ValueError as error:
        raise ScenarioError(str(error), file=option) from error


def _address(option: str, text: str | None) -> str:
    if text is None:
        return ""
    try:
        host, port = split(text)
    except ValueError:
        host, port = "", 0
    if not host or not 0 < port < 65536:
        raise ScenarioError(f"expected `host:port` such as `127.0.0.1:8474`, got `{text}`", file=option)
    return text


def _server(target: Target, location: Location) -> str:
    option, engine = _OPTIONS[location.scheme], _engine(location)
    names = [name for name, server in target.servers.items() if server.engine == engine]
    if len(names) != 1:
        having = f"has {len(names)}: {', '.join(names)}" if names else "has none"
        remedy = "give them a `url` in its target.yaml" if names else f"leave {option} out"
        raise ScenarioError(
            f"takes the place of the target's {engine} server, but it {having}", file=option, remedy=remedy
        )
    return names[0]


def _engine(location: Location) -> Literal["postgres", "redis"]:
    return "postgres" if location.scheme == "postgresql" else "redis"


def _check_hosts(target: Target, listed: Sequence[str]) -> None:
    toxiproxy = split(target.toxiproxy)[0] if target.toxiproxy else ""
    named = [(name, location) for name in target.components if (location := target.location(name))]
    named += [("Toxiproxy", Location("http", "", toxiproxy, 1, ""))] if toxiproxy else []
    for name, location in named:
        if not location.is_loopback and location.host.lower() not in {host.lower() for host in listed}:
            raise ScenarioError(
                f"{name} is on `{location.host}`, which is not this machine",
                remedy=f"if you may send load and faults there, say so: `hosts: [{location.host}]` "
                "in the scenario or in target.yaml",
            )


def _check_logins(target: Target) -> None:
    """An address alone would leave out the database and the login that a URL names, and hit another database."""
    for name, server in target.servers.items():
        if server.url is None:
            continue
        for where, text in _texts(target):
            for placeholder in _PLACEHOLDER.findall(text):
                if placeholder.rpartition("->")[2] == name:
                    raise ScenarioError(
                        f"{where} makes a URL of its own with `{{{placeholder}}}`, so that the login and the database "
                        f"of {server.url} would be left out",
                        file=target.folder / "target.yaml",
                        remedy=f"write `{{{placeholder}.url}}` there, which is the whole URL",
                    )


def _texts(target: Target) -> Iterator[tuple[str, str]]:
    ours = {name: process for name, process in target.processes.items() if target.is_ours(name)}
    for name, process in ours.items():
        for text in (*process.command, *process.environment.values()):
            yield f"`{name}`", text
    if target.reset is not None and target.resets:
        for text in (*target.reset.command, *target.reset.environment.values()):
            yield "`reset`", text


def _check_data(target: Target) -> None:
    if target.reset is None:
        return
    foreign = [name for name, server in target.servers.items() if server.url is not None]
    if not target.data and foreign and target.is_ours(target.entry):
        raise ScenarioError(
            f"the target's reset command would be run on {' and '.join(foreign)}, whose data is not the harness's",
            remedy="say `--data reset` if it may be thrown away, or `--data keep` to leave it (then the arms do not "
            "start alike, unless you see to that)",
        )
    if target.data != "reset" or target.is_ours(target.entry):
        return
    for text in (*target.reset.command, *target.reset.environment.values()):
        for name in (placeholder.removesuffix(".url") for placeholder in _PLACEHOLDER.findall(text)):
            if name in target.servers and name not in foreign:
                option = {"postgres": "--postgres", "redis": "--redis"}[target.servers[name].engine]
                raise ScenarioError(
                    f"the reset command needs {name}, and nobody has said where that is",
                    file="--data reset",
                    remedy=f"name it with {option}, or say `--data keep`",
                )
