"""Edits of a state by hand: forget, rename, protect and taint resources, without any provider.

Owns: what each edit makes of a deployment and what it refuses. Promises: pure; a sound deployment stays
sound; a refusal names the resource and all that stands in the way. Never: loads, saves, asks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tickover.engine.integrity import references
from tickover.engine.renames import renamed
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.urn import is_urn, parse_urn
from tickover.errors import ConfigError, TickoverError

TAINT: Final = "taint"
_LIST_HINT: Final = "tickover state ls"
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Removal:
    """removed: in the order they were forgotten. unprotected: those of them that were protected."""

    deployment: Deployment
    removed: tuple[str, ...]
    unprotected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marking:
    """changed: URNs whose mark is another one now; of the others it was right already."""

    deployment: Deployment
    named: tuple[str, ...]
    changed: tuple[str, ...]


# --- finding -----------------------------------------------------------------------------------------


def not_found(deployment: Deployment, urn: str) -> TickoverError:
    """urn names nothing that could be meant."""
    known = sorted({r.urn for r in deployment.resources})
    near = difflib.get_close_matches(urn, known, n=3, cutoff=0.75)
    meant = "".join(f"\n  {n}" for n in near)
    return TickoverError(
        "no-resource",
        "No such resource",
        f"The state has no {urn}." + (f" Did you mean:{meant}" if near else ""),
        address=urn,
        hint=_LIST_HINT,
    )


def checked_urn(text: str) -> str:
    """text, if it has the form of a URN."""
    if not is_urn(text):
        raise ConfigError(
            "bad-urn",
            "Not a URN",
            f"{text!r} is not of the form urn:pulumi:<stack>::<project>::<type>::<name>.",
            address=text,
            hint=_LIST_HINT,
        )
    return text


def located(deployment: Deployment, urn: str) -> int:
    """The index of the one resource of that URN. Raises TickoverError if there is none or several."""
    found = [i for i, r in enumerate(deployment.resources) if r.urn == checked_urn(urn)]
    if not found:
        raise not_found(deployment, urn)
    if len(found) > 1:
        ids = ", ".join(repr(deployment.resources[i].id) for i in found)
        raise TickoverError(
            "ambiguous-resource",
            "URN means several resources",
            f"{urn} is there {len(found)} times, as happens between the two halves of a replacement; "
            f"their ids are {ids}. Let an update finish the replacement first.",
            address=urn,
            hint="tickover up",
        )
    return found[0]


# --- forgetting ----------------------------------------------------------------------------------------


def dependents(resources: Sequence[ResourceState], start: int) -> tuple[int, ...]:
    """Indexes of all that cannot stay without the one at start: they refer to it, directly or through
    others, and to no earlier entry of the same URN."""
    needed: dict[str, list[str]] = {resources[start].urn: [resources[start].id]}
    others: dict[str, int] = {}
    for resource in resources[:start]:
        others[resource.urn] = others.get(resource.urn, 0) + 1
    found = []
    for index in range(start + 1, len(resources)):
        resource = resources[index]
        if _is_dependent(resource, resources[start], needed, others):
            found.append(index)
            needed.setdefault(resource.urn, []).append(resource.id)
        else:
            others[resource.urn] = others.get(resource.urn, 0) + 1
    return tuple(found)


def _is_dependent(
    resource: ResourceState,
    condemned: ResourceState,
    needed: Mapping[str, list[str]],
    others: Mapping[str, int],
) -> bool:
    if (resource.urn, resource.id) == (condemned.urn, condemned.id):
        return False
    if resource.provider:
        urn, _, id_ = resource.provider.rpartition("::")
        if id_ in needed.get(urn, ()):
            return True
    plain = replace(resource, provider="")
    return any(urn in needed and not others.get(urn) for urn in references(plain))


def without(
    deployment: Deployment, urns: Sequence[str], *, force: bool = False, with_dependents: bool = False
) -> Removal:
    """deployment without the resources of urns. force: protected ones too. with_dependents: and all that
    depends on them; else such a resource is a reason to refuse."""
    return _without(deployment, {located(deployment, urn) for urn in urns}, force, with_dependents)


def without_all(deployment: Deployment, *, force: bool = False) -> Removal:
    """deployment without any resource; pending operations stay."""
    return _without(deployment, set(range(len(deployment.resources))), force, True)


def _without(deployment: Deployment, targets: set[int], force: bool, with_dependents: bool) -> Removal:
    resources = deployment.resources
    gone: dict[int, None] = {}
    # From the end: what depends on another comes after it, so dependents that are targets go first.
    for target in sorted(targets, reverse=True):
        if target in gone:
            continue
        waiting = [i for i in dependents(resources, target) if i not in gone]
        if waiting and not with_dependents:
            raise _has_dependents(resources[target], [resources[i] for i in waiting])
        gone.update(dict.fromkeys((*reversed(waiting), target)))
    protected = [resources[i].urn for i in sorted(gone) if resources[i].protect]
    if protected and not force:
        raise _protected(protected)
    kept = tuple(r for i, r in enumerate(resources) if i not in gone)
    return Removal(
        replace(deployment, resources=kept), tuple(resources[i].urn for i in gone), tuple(protected)
    )


def _listed(urns: Iterable[str]) -> str:
    items = list(urns)
    more = f"\n  and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "".join(f"\n  {urn}" for urn in items[:_SHOWN]) + more


def _has_dependents(condemned: ResourceState, waiting: Sequence[ResourceState]) -> TickoverError:
    return TickoverError(
        "has-dependents",
        "Other resources depend on it",
        f"{condemned.urn} cannot be forgotten alone; these need it:{_listed(r.urn for r in waiting)}\n"
        "Forget them first, or all at once with --target-dependents.",
        address=condemned.urn,
        hint=f"tickover state delete '{condemned.urn}' --target-dependents",
    )


def _protected(urns: Sequence[str]) -> TickoverError:
    return TickoverError(
        "protected",
        "Resource is protected",
        f"These are protected and stay:{_listed(urns)}\nLift the protection, or add --force.",
        address=urns[0],
        hint=f"tickover state unprotect '{urns[0]}'",
    )


# --- renaming -------------------------------------------------------------------------------------------


def with_name(deployment: Deployment, urn: str, name: str) -> Deployment:
    """deployment in which the resource of urn is called name, wherever it is referred to."""
    located(deployment, urn)
    if not name:
        raise ConfigError("bad-name", "Name is empty", "A resource needs a name.", address=urn)
    new = str(replace(parse_urn(urn), name=name))
    if new != urn and any(r.urn == new for r in deployment.resources):
        raise TickoverError(
            "name-taken", "Name is taken", f"The state has a resource {new} already.", address=new
        )
    return renamed(deployment, {urn: new})


# --- marks ----------------------------------------------------------------------------------------------


def with_protection(deployment: Deployment, urns: Sequence[str] | None, protect: bool) -> Marking:
    """The live resources of urns (None: all) with protect so set."""
    return _marked(deployment, urns, "protect", protect)


def with_taint(deployment: Deployment, urns: Sequence[str] | None, taint: bool) -> Marking:
    """The live resources of urns (None: all) tainted: the next update replaces them; or not any more."""
    return _marked(deployment, urns, TAINT, taint)


def _marked(deployment: Deployment, urns: Sequence[str] | None, mark: str, on: bool) -> Marking:
    live = {r.urn for r in deployment.resources if not r.delete}
    wanted = live if urns is None else {checked_urn(u) for u in urns}
    if missing := sorted(wanted - live):
        raise not_found(deployment, missing[0])
    changed: list[str] = []
    resources = []
    for resource in deployment.resources:
        if resource.urn in wanted and not resource.delete:
            made = _set(resource, mark, on)
            if made != resource:
                changed.append(resource.urn)
            resources.append(made)
        else:
            resources.append(resource)
    named = tuple(r.urn for r in deployment.resources if r.urn in wanted and not r.delete)
    return Marking(replace(deployment, resources=tuple(resources)), named, tuple(changed))


def _set(resource: ResourceState, mark: str, on: bool) -> ResourceState:
    if mark == "protect":
        return replace(resource, protect=on)
    extra: dict[str, Any] = {k: v for k, v in resource.extra.items() if k != mark}
    return replace(resource, extra=extra | {mark: True} if on else extra)
