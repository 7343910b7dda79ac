"""A target in several regions: each has its own servers, processes and data, and one front serves clients from all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.scenario.manifest import Target


def spread(target: Target, regions: Sequence[str]) -> Target:
    """The target once per region, `app` as `app-east` and `app-west`; without regions, the target as it is.

    Replicas are shared out among the regions, at least one for each. Edges lead nowhere else: regions know nothing of
    each other. The entry keeps its name too, for what clients talk to: the front.
    """
    if not regions:
        return target

    def everywhere(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{name}-{region}" for region in regions for name in names)

    def depended(names: Sequence[str]) -> tuple[str, ...]:
        front = (target.entry,) if target.entry in names else ()
        return (*front, *everywhere(names))

    between: Mapping[str, Sequence[str]] = target.component_dependencies
    return target.model_copy(
        update={
            "regions": tuple(regions),
            "servers": {f"{name}-{at}": server for at in regions for name, server in target.servers.items()},
            "processes": {
                f"{name}-{at}": process.model_copy(update={"replicas": -(-process.replicas // len(regions))})
                for at in regions
                for name, process in target.processes.items()
            },
            "edges": tuple((f"{one}-{at}", f"{other}-{at}") for at in regions for one, other in target.edges),
            "retries": {
                "->".join(f"{end}-{at}" for end in edge.split("->")): name
                for at in regions
                for edge, name in target.retries.items()
            },
            "dependencies": {endpoint: depended(names) for endpoint, names in target.dependencies.items()},
            "component_dependencies": {
                target.entry: everywhere((target.entry,)),
                **{
                    f"{name}-{at}": tuple(f"{other}-{at}" for other in called)
                    for at in regions
                    for name, called in between.items()
                },
            },
        }
    )
