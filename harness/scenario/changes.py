"""What a scenario changes about its target: servers and processes that are not as the manifest has them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import nearest
from harness.scenario.document import Document, Keys
from harness.scenario.manifest import Process, Server, Target, check_servers
from harness.scenario.models import ProcessChange, ServerChange


def with_changes(
    target: Target,
    servers: Mapping[str, ServerChange],
    processes: Mapping[str, ProcessChange],
    document: Document,
    path: Keys = (),
) -> Target:
    """The target with these servers and processes; what they say of themselves takes the place of the manifest's.

    Raises ScenarioError, at what stands in `document` below `path`: an unknown name, something that runs already, or
    what the manifest itself could not say.
    """
    changed_servers, changed_processes = dict(target.servers), dict(target.processes)
    for name, server in servers.items():
        _check_name(name, "server", target.servers, target, document, (*path, "servers", name))
        changed_servers[name] = target.servers[name].model_copy(update=_given(server))
    for name, process in processes.items():
        _check_name(name, "process", target.processes, target, document, (*path, "processes", name))
        changed_processes[name] = target.processes[name].model_copy(update=_given(process))
    changed = target.model_copy(update={"servers": changed_servers, "processes": changed_processes})
    check_servers(changed, document, path)
    return changed


def _given(change: ServerChange | ProcessChange) -> dict[str, object]:
    return {key: getattr(change, key) for key in change.model_fields_set}


def _check_name(
    name: str,
    what: str,
    known: Mapping[str, Server] | Mapping[str, Process],
    target: Target,
    document: Document,
    path: Keys,
) -> None:
    if name not in known:
        raise document.key_error(path, f"the target has no {what} `{name}`", remedy=nearest(name, known))
    if not target.is_ours(name):
        raise document.key_error(
            path, f"has no effect on {name}, which runs already", remedy="set it up there, and leave this out here"
        )
