"""What a program asks for: one registration as data.

Owns: the goal, and the state that it leads to. Promises: plain frozen data; what is inherited from the
parent has been resolved before (see `registration`). Never: looks at prior state or asks a provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.urn import STACK_TYPE, is_provider_type, make_urn, parse_urn
from tickover.engine.values import PropertyMap, PropertyValue


@dataclass(frozen=True, slots=True)
class Alias:
    """A former name. urn, or what of the present name was different; parent: URN, empty for the present
    one; no_parent: it had none."""

    urn: str = ""
    name: str = ""
    type: str = ""
    stack: str = ""
    project: str = ""
    parent: str = ""
    no_parent: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """One wanted resource. provider: "urn::id"; empty for components and providers.

    protect, retain_on_delete: None where neither the program nor a parent says anything.
    hooks: names by state field (``beforeCreate``…).
    """

    urn: str
    type: str
    name: str
    custom: bool
    parent: str = ""
    inputs: PropertyMap = field(default_factory=dict)
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None  # None: as the provider wants it
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    custom_timeouts: CustomTimeouts | None = None
    import_id: str = ""
    retain_on_delete: bool | None = None
    deleted_with: str = ""
    replace_with: tuple[str, ...] = ()
    replacement_trigger: PropertyValue = None
    replace_on_changes: tuple[str, ...] = ()
    hide_diff: tuple[str, ...] = ()
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source_position: str = ""

    @property
    def is_provider(self) -> bool:
        return is_provider_type(self.type)

    @property
    def needs(self) -> frozenset[str]:
        """URNs that have to be there before it, its provider included."""
        found = {*self.dependencies, self.parent, self.deleted_with, *self.replace_with}
        found.update(urn for urns in self.property_dependencies.values() for urn in urns)
        found.add(self.provider.rpartition("::")[0])
        return frozenset(found - {""})

    def as_state(
        self, inputs: PropertyMap, id: str = "", outputs: PropertyMap | None = None
    ) -> ResourceState:
        """The state this goal leads to, with the given inputs, id and outputs."""
        return ResourceState(
            urn=self.urn,
            type=self.type,
            custom=self.custom,
            id=id,
            inputs=inputs,
            outputs=outputs or {},
            parent=self.parent,
            provider=self.provider,
            dependencies=self.dependencies,
            property_dependencies=self.property_dependencies,
            protect=bool(self.protect),
            additional_secret_outputs=self.additional_secret_outputs,
            custom_timeouts=self.custom_timeouts,
            import_id=self.import_id,
            retain_on_delete=bool(self.retain_on_delete),
            deleted_with=self.deleted_with,
            source_position=self.source_position,
            ignore_changes=self.ignore_changes,
            replace_on_changes=self.replace_on_changes,
            extra=self._extra(),
        )

    def _extra(self) -> dict[str, Any]:
        """What the state keeps under its own names."""
        fields: dict[str, Any] = {
            "replaceWith": list(self.replace_with),
            "replacementTrigger": self.replacement_trigger,
            "hideDiff": list(self.hide_diff),
            "resourceHooks": {kind: list(names) for kind, names in self.hooks.items()},
        }
        return {name: value for name, value in fields.items() if value not in (None, [], {})}


def package_of(type_: str) -> str:
    """``tickover:fc:Function`` → ``tickover``; ``pulumi:providers:x`` → ``x``."""
    return type_.rsplit(":", 1)[-1] if is_provider_type(type_) else type_.split(":", 1)[0]


def alias_urns(goal: Goal, stack: str, project: str, former: Mapping[str, str]) -> tuple[str, ...]:
    """The URNs that goal may have had. former: present URN → the old one it was found under; children of a
    renamed parent were named after its old name, and lay under it."""
    own = [_alias_urn(alias, goal, stack, project, former) for alias in goal.aliases]
    found = list(own)
    before = former.get(goal.parent, "") if goal.parent else ""
    if before:
        names = [(goal.type, goal.name), *((u.type, u.name) for u in map(parse_urn, own))]
        parent_name = parse_urn(goal.parent).name
        for type_, name in names:
            if name.startswith(parent_name):
                name = parse_urn(before).name + name.removeprefix(parent_name)
            found.append(make_urn(stack, project, before, type_, name))
    return tuple(dict.fromkeys(urn for urn in found if urn != goal.urn))


def _alias_urn(alias: Alias, goal: Goal, stack: str, project: str, former: Mapping[str, str]) -> str:
    if alias.urn:
        return alias.urn
    parent = former.get(alias.parent, alias.parent) if alias.parent else goal.parent
    if alias.no_parent or (parent and parse_urn(parent).type == STACK_TYPE):
        parent = ""
    return make_urn(
        alias.stack or stack,
        alias.project or project,
        parent,
        alias.type or goal.type,
        alias.name or goal.name,
    )


def in_project(position: str, root: Path) -> str:
    """A source position as Pulumi writes it for a file of the project: the same wherever that lies."""
    home = root.as_uri() + "/"
    position = position.replace("/./", "/")
    return f"project:///{position.removeprefix(home)}" if position.startswith(home) else position
