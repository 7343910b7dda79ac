"""Where damage is expected: which endpoints have a declared path to the component that was broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.tiers import tier_of

Map = Mapping[str, Sequence[str]]


def has_path(endpoint: str, faulted: Iterable[str], dependencies: Map, component_dependencies: Map) -> bool | None:
    """Whether `endpoint` has a declared path to one of the `faulted` components; None when nothing is declared.

    What the map lists for an endpoint is taken as complete: a component that any endpoint names is reached only by
    the endpoints that name it. Otherwise every endpoint would reach everything through the tier that serves them
    all (`app` calls `redis` for one endpoint, so all would "depend" on redis). `component_dependencies` is followed
    only to components that no endpoint names: a database behind a service that the endpoint names, and so on.
    """
    broken = {_whole(component, dependencies, component_dependencies) for component in faulted if component}
    if endpoint not in dependencies or not broken:
        return None
    named = {component for listed in dependencies.values() for component in listed}
    reached = set(dependencies[endpoint])
    ahead = sorted(reached)
    while ahead:
        for component in component_dependencies.get(ahead.pop(), ()):
            if component not in named and component not in reached:
                reached.add(component)
                ahead.append(component)
    return bool(reached & broken)


def tier_has_path(tier: str, faulted: Iterable[str], dependencies: Map, component_dependencies: Map) -> bool | None:
    """Whether `tier` is, or calls directly or through others, one of the `faulted` components; None when undeclared."""
    broken = {_whole(component, dependencies, component_dependencies) for component in faulted if component}
    called = {component for listed in component_dependencies.values() for component in listed}
    if not broken or tier not in called | set(component_dependencies):
        return None
    reached, ahead = {tier}, [tier]
    while ahead:
        for component in component_dependencies.get(ahead.pop(), ()):
            if component not in reached:
                reached.add(component)
                ahead.append(component)
    return bool(reached & broken)


def most_attempts(
    caller: str, tier: str, retries: Mapping[str, int], component_dependencies: Map, seen: tuple[str, ...] = ()
) -> float | None:
    """What retries inside the target make of one call at most: the product of 1 + retries on the way to `tier`.

    `retries` is by edge, `app->auth`; None when the record declares none. Of several ways the longest counts.
    """
    if not retries:
        return None
    before = [
        most
        for name, called in component_dependencies.items()
        if caller in called and name not in seen
        if (most := most_attempts(name, caller, retries, component_dependencies, (*seen, caller))) is not None
    ]
    return max(before, default=1.0) * (1 + retries.get(f"{caller}->{tier}", 0))


def _whole(component: str, dependencies: Map, component_dependencies: Map) -> str:
    """`app` for its replica `app-1`, unless the map itself speaks of `app-1`."""
    known = {name for listed in dependencies.values() for name in listed} | set(component_dependencies)
    known |= {name for listed in component_dependencies.values() for name in listed}
    stem = tier_of(component)
    return component if component in known or stem not in known else stem
