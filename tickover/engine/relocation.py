"""Resources that go to another stack, and a stack that gets another name.

Owns: what a move makes of both deployments, and the names that a renamed stack's resources have. Promises:
pure; what is moved keeps its inputs, outputs and id; every reference that cannot go along is told. Never:
saves, locks, calls providers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final

from tickover.engine.renames import renamed_resource
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.surgery import checked_urn, not_found
from tickover.engine.urn import STACK_TYPE, is_provider_type, make_urn, parse_urn, stack_urn
from tickover.engine.values import Archive, Asset, ResourceReference, Secret
from tickover.errors import TickoverError

_EXTENSIONS: Final = "extensions"


@dataclass(frozen=True, slots=True)
class Place:
    """A stack of a project."""

    project: str
    stack: str

    def __str__(self) -> str:
        return f"{self.project}/{self.stack}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A reference that is given up, because its two ends are in two stacks from now on."""

    urn: str
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Move:
    """moved: old URN to new one. providers: the same of those copied along; cut_*: references given up."""

    source: Deployment
    destination: Deployment
    moved: Mapping[str, str]
    providers: Mapping[str, str]
    cut_in_source: tuple[Broken, ...]
    cut_in_destination: tuple[Broken, ...]


def moved(
    source: Deployment,
    destination: Deployment,
    place: Place,
    urns: Sequence[str],
    *,
    include_parents: bool = False,
) -> Move:
    """The resources of urns, and all below them, taken from source to destination, which is at place."""
    chosen = _chosen(source, urns, include_parents)
    staying = {r.urn for r in source.resources} - chosen
    root, base = _with_root(destination, place)
    taken = {r.urn: r for r in base if not r.delete}
    cut_source: list[Broken] = []
    cut_destination: list[Broken] = []
    names, references, copies = _providers(source, chosen, staying, place, root, taken, cut_destination)
    providers = {old: names[old] for old in names if any(c.urn == names[old] for c in copies)}
    arrived: list[ResourceState] = list(copies)
    renames: dict[str, str] = {}
    for resource in source.resources:
        if resource.urn not in chosen:
            continue
        cut = _cut(resource, staying, cut_destination)
        new = _arriving(cut, place, root, chosen, renames)
        renames[resource.urn] = new.urn
        new = replace(new, provider=references.get(resource.provider, resource.provider))
        if new.urn in taken:
            raise TickoverError(
                "resource-exists",
                "Resource exists already",
                f"The destination {place} has {new.urn} already.",
                address=new.urn,
            )
        arrived.append(new)
    left = tuple(_cut(r, chosen, cut_source) for r in source.resources if r.urn not in chosen)
    return Move(
        replace(source, resources=left),
        _with_extensions(replace(destination, resources=in_valid_order([*base, *arrived])), source),
        renames,
        providers,
        tuple(cut_source),
        tuple(cut_destination),
    )


def _chosen(source: Deployment, urns: Sequence[str], include_parents: bool) -> set[str]:
    """URNs of all that goes: what is named, what is below it, and above it if that is asked for."""
    wanted = {checked_urn(u) for u in urns}
    by_urn = {r.urn: r for r in source.resources}
    for urn in urns:
        if urn not in by_urn:
            raise not_found(source, urn)
        if is_provider_type(by_urn[urn].type):
            raise TickoverError(
                "moves-provider",
                "Providers cannot be moved",
                f"{urn} is a provider. Move the resources that use it: it is copied along with them.",
                address=urn,
            )
    chosen = set(wanted)
    if include_parents:
        for urn in wanted:
            parent = by_urn[urn].parent
            while parent and parent not in chosen:
                chosen.add(parent)
                parent = by_urn[parent].parent if parent in by_urn else ""
    roots = {r.urn for r in source.resources if r.type == STACK_TYPE}
    below = wanted | (chosen - roots)
    for resource in source.resources:  # parents come before their children
        if resource.parent in below and not is_provider_type(resource.type):
            below.add(resource.urn)
    found = {u for u in below - roots if not is_provider_type(by_urn[u].type)}
    if not found:
        raise TickoverError("nothing-to-move", "Nothing to move", "The stack holds nothing but itself.")
    return found


def _with_root(destination: Deployment, place: Place) -> tuple[str, list[ResourceState]]:
    """The URN of the destination's stack resource, and its resources, that one among them."""
    for resource in destination.resources:
        if resource.type == STACK_TYPE and not resource.delete:
            return resource.urn, list(destination.resources)
    urn = stack_urn(place.stack, place.project)
    return urn, [ResourceState(urn=urn, type=STACK_TYPE, custom=False), *destination.resources]


def _providers(
    source: Deployment,
    chosen: Set[str],
    staying: Set[str],
    place: Place,
    root: str,
    taken: Mapping[str, ResourceState],
    cut: list[Broken],
) -> tuple[dict[str, str], dict[str, str], list[ResourceState]]:
    """New URNs of the providers in use, the references to them (old to new), and the copies to add."""
    used = {r.provider for r in source.resources if r.urn in chosen and r.provider}
    names: dict[str, str] = {}
    references: dict[str, str] = {}
    copies: list[ResourceState] = []
    for resource in source.resources:
        reference = f"{resource.urn}::{resource.id}"
        if reference not in used:
            continue
        seen: list[Broken] = []
        copy = _arriving(_cut(resource, staying, seen), place, root, chosen, {})
        names[resource.urn] = copy.urn
        present = taken.get(copy.urn)
        if present is not None and present.id != copy.id and dict(present.inputs) != dict(copy.inputs):
            raise TickoverError(
                "provider-exists",
                "Another provider is there",
                f"The destination {place} has a provider {copy.urn} with other inputs.",
                address=copy.urn,
                hint=f"tickover state rename '{resource.urn}' NEWNAME",
            )
        if present is None:
            copies.append(copy)
            cut.extend(seen)
        references[reference] = f"{copy.urn}::{(present or copy).id}"
    return names, references, copies


def _cut(resource: ResourceState, away: Set[str], cut: list[Broken]) -> ResourceState:
    """resource without references to what is in another stack from now on; its parent is seen to later."""

    def near(kind: str, urn: str) -> bool:
        if urn in away:
            cut.append(Broken(resource.urn, kind, urn))
            return False
        return True

    extra: dict[str, Any] = dict(resource.extra)
    if "replaceWith" in extra:
        extra["replaceWith"] = [u for u in extra["replaceWith"] if near("replaceWith", u)]
        if not extra["replaceWith"]:
            del extra["replaceWith"]
    by_property = {
        key: tuple(u for u in urns if near(f"dependency by `{key}`", u))
        for key, urns in sorted(resource.property_dependencies.items())
    }
    with_ = resource.deleted_with
    return replace(
        resource,
        dependencies=tuple(u for u in resource.dependencies if near("dependency", u)),
        property_dependencies={
            k: v for k, v in by_property.items() if v or not resource.property_dependencies[k]
        },
        deleted_with=with_ if with_ and near("deletedWith", with_) else "",
        extra=extra,
    )


def _arriving(
    resource: ResourceState, place: Place, root: str, chosen: Set[str], names: Mapping[str, str]
) -> ResourceState:
    """resource under the names it has at place. names: of what went before it."""

    def elsewhere(urn: str) -> str:
        return names.get(urn) or str(replace(parse_urn(urn), stack=place.stack, project=place.project))

    pieces = parse_urn(resource.urn)
    parent = elsewhere(resource.parent) if resource.parent in chosen else root
    urn = make_urn(place.stack, place.project, parent, pieces.type, pieces.name)
    mentioned = {
        *resource.dependencies,
        *(u for urns in resource.property_dependencies.values() for u in urns),
        *(resource.extra.get("replaceWith") or ()),
        *((resource.deleted_with,) if resource.deleted_with else ()),
    }
    table = {u: elsewhere(u) for u in mentioned} | {resource.urn: urn}
    return replace(renamed_resource(resource, table), parent=parent)


def _with_extensions(destination: Deployment, source: Deployment) -> Deployment:
    """destination with the extension parameters that what has come refers to."""
    needed = {r.extra["extensionRef"] for r in destination.resources if r.extra.get("extensionRef")}
    stored: Mapping[str, Any] = source.extra.get(_EXTENSIONS) or {}
    known: Mapping[str, Any] = destination.extra.get(_EXTENSIONS) or {}
    more = {ref: stored[ref] for ref in sorted(needed - set(known)) if ref in stored}
    if not more:
        return destination
    return replace(destination, extra=dict(destination.extra) | {_EXTENSIONS: dict(known) | more})


# --- a stack's name ---------------------------------------------------------------------------------------


def restacked(deployment: Deployment, old: Place, new: Place) -> Deployment:
    """deployment as that of the stack new: every URN that was of old, also inside values and aliases."""

    def name(urn: str) -> str:
        if not urn.startswith(f"urn:pulumi:{old.stack}::{old.project}::"):
            return urn
        pieces = replace(parse_urn(urn), stack=new.stack, project=new.project)
        if pieces.type == STACK_TYPE and not pieces.parent_types:
            pieces = replace(pieces, name=f"{new.project}-{new.stack}")
        return str(pieces)

    def whole(resource: ResourceState) -> ResourceState:
        mentioned = {resource.urn, resource.parent, *resource.dependencies, resource.deleted_with}
        mentioned |= {u for urns in resource.property_dependencies.values() for u in urns}
        mentioned |= {str(u) for u in resource.extra.get("replaceWith") or ()}
        mentioned.add(resource.provider.rpartition("::")[0])
        made = renamed_resource(resource, {u: name(u) for u in mentioned})
        extra = dict(made.extra)
        if extra.get("viewOf"):
            extra["viewOf"] = name(extra["viewOf"])
        return replace(
            made,
            aliases=tuple(name(a) for a in made.aliases),
            inputs={k: _renamed_value(v, name) for k, v in made.inputs.items()},
            outputs={k: _renamed_value(v, name) for k, v in made.outputs.items()},
            extra=extra,
        )

    return replace(
        deployment,
        resources=tuple(whole(r) for r in deployment.resources),
        pending_operations=tuple(
            replace(p, resource=whole(p.resource)) for p in deployment.pending_operations
        ),
    )


def _renamed_value(value: Any, name: Callable[[str], str]) -> Any:
    match value:
        case Secret():
            return Secret(_renamed_value(value.value, name))
        case ResourceReference():
            return replace(value, urn=name(value.urn))
        case Asset() | Archive():
            return value
        case dict():
            return {k: _renamed_value(v, name) for k, v in value.items()}
        case list() | tuple():
            return [_renamed_value(v, name) for v in value]
        case _:
            return value
