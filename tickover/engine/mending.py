"""What can be put right in a state that breaks the rules of `integrity`.

Owns: the order of the resources, and references to what is not there. Promises: pure; tells every change;
a state that stays unsound is not returned. Never: invents a resource, a provider or an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from tickover.engine.integrity import Violation, violations
from tickover.engine.renames import renamed, renamed_resource
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.urn import make_urn, parse_urn
from tickover.errors import TickoverError


@dataclass(frozen=True, slots=True)
class Mended:
    """broken: the rules broken before; none if there was nothing to do.

    moved: URNs that stand elsewhere in the order now. dropped: resource, kind of reference, what it named.
    renamed: old URN to new one, of resources whose parent is not there.
    """

    deployment: Deployment
    broken: tuple[Violation, ...] = ()
    moved: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str, str], ...] = ()
    renamed: Mapping[str, str] | None = None


def mended(deployment: Deployment) -> Mended:
    """A sound deployment. Raises TickoverError ``beyond-repair`` if one cannot be made."""
    broken = violations(deployment)
    if not broken:
        return Mended(deployment)
    known = {r.urn for r in deployment.resources}
    dropped: list[tuple[str, str, str]] = []
    pruned = tuple(_pruned(r, known, dropped) for r in deployment.resources)
    names = _orphaned(deployment.resources, known)
    renamed_all = tuple(renamed_resource(r, names) for r in pruned)
    ordered = in_valid_order(renamed_all)
    pending = renamed(deployment, names).pending_operations
    result = replace(deployment, resources=ordered, pending_operations=pending)
    if left := violations(result):
        raise _beyond_repair(left)
    return Mended(result, broken, _moved(renamed_all, ordered), tuple(dropped), names)


def _pruned(resource: ResourceState, known: Set[str], dropped: list[tuple[str, str, str]]) -> ResourceState:
    """resource without references to what is not there; its provider stays, it cannot do without."""

    def there(kind: str, urn: str) -> bool:
        if urn in known:
            return True
        dropped.append((resource.urn, kind, urn))
        return False

    extra: dict[str, Any] = dict(resource.extra)
    if "replaceWith" in extra:
        extra["replaceWith"] = [u for u in extra["replaceWith"] if there("replaceWith", u)]
    by_property = {
        key: tuple(u for u in urns if there(f"dependency by `{key}`", u))
        for key, urns in sorted(resource.property_dependencies.items())
    }
    parent = resource.parent
    return replace(
        resource,
        parent=parent if parent and there("parent", parent) else "",
        dependencies=tuple(u for u in resource.dependencies if there("dependency", u)),
        property_dependencies={
            k: v for k, v in by_property.items() if v or not resource.property_dependencies[k]
        },
        deleted_with=resource.deleted_with
        if resource.deleted_with and there("deletedWith", resource.deleted_with)
        else "",
        extra=extra,
    )


def _orphaned(resources: tuple[ResourceState, ...], known: Set[str]) -> dict[str, str]:
    """New URNs of those whose parent is not there, and of all below them: a URN holds its parents' types."""
    parents = {r.urn: r.parent for r in reversed(resources)}
    names: dict[str, str] = {}
    done: set[str] = set()
    for start in parents:
        path: list[str] = []
        here = start
        while here in parents and here not in done:
            done.add(here)
            path.append(here)
            here = parents[here]
        for urn in reversed(path):
            parent = parents[urn]
            if parent in names or (parent and parent not in known):
                pieces = parse_urn(urn)
                above = names.get(parent, "")
                renewed = make_urn(pieces.stack, pieces.project, above, pieces.type, pieces.name)
                if renewed != urn:
                    names[urn] = renewed
    return names


def _moved(before: tuple[ResourceState, ...], after: tuple[ResourceState, ...]) -> tuple[str, ...]:
    """Those that had to go before what they stood behind."""
    places = {id(r): i for i, r in enumerate(before)}
    lowest, found = len(before), []
    for resource in reversed(after):
        place = places[id(resource)]
        if place > lowest:
            found.append(resource.urn)
        else:
            lowest = place
    return tuple(reversed(found))


def _beyond_repair(left: tuple[Violation, ...]) -> TickoverError:
    listing = "\n".join(f"  {v}" for v in left[:10])
    return TickoverError(
        "beyond-repair",
        "State cannot be repaired",
        f"Order and dangling references were put right, but these remain:\n{listing}\n"
        "Nothing was changed. Export the state, correct it by hand, and import it.",
        address=left[0].urn,
        hint="tickover stack export --file state.json",
    )
