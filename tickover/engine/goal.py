"""What a program asks for: one registration as data.

Owns: the goal and how a RegisterResource request becomes one. Promises: a pure function of the request and
of what was registered before; options are inherited from the parent here and nowhere else. Never: looks at
prior state or asks a provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tickover.engine import wire
from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.urn import STACK_TYPE, is_provider_type, make_urn, parse_urn
from tickover.engine.values import PropertyMap
from tickover.errors import TickoverError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi.runtime.proto import resource_pb2

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Goal:
    """One wanted resource. provider: "urn::id", empty where a default provider is to be found."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str = ""
    inputs: PropertyMap = field(default_factory=dict)
    provider: str = ""
    version: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False
    ignore_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None  # None: as the provider wants it
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: CustomTimeouts | None = None
    retain_on_delete: bool = False
    deleted_with: str = ""
    replace_on_changes: tuple[str, ...] = ()
    source_position: str = ""
    providers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_provider(self) -> bool:
        return is_provider_type(self.type)

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
            protect=self.protect,
            additional_secret_outputs=self.additional_secret_outputs,
            custom_timeouts=self.custom_timeouts,
            retain_on_delete=self.retain_on_delete,
            deleted_with=self.deleted_with,
            source_position=self.source_position,
            ignore_changes=self.ignore_changes,
            replace_on_changes=self.replace_on_changes,
        )


def package_of(type_: str) -> str:
    """``tickover:fc:Function`` → ``tickover``; ``pulumi:providers:x`` → ``x``."""
    return type_.rsplit(":", 1)[-1] if is_provider_type(type_) else type_.split(":", 1)[0]


def goal_of(
    request: resource_pb2.RegisterResourceRequest, stack: str, project: str, parent: Goal | None
) -> Goal:
    """The goal of a request whose parent (already registered) is given. Raises for what is not served."""
    _refuse_unsupported(request)
    dependencies = tuple(sorted(set(request.dependencies)))
    by_property = {k: tuple(sorted(set(v.urns))) for k, v in sorted(request.propertyDependencies.items())}
    inputs = wire.decode(request.object, keep_resources=True)
    if not by_property and dependencies and not request.remote:
        by_property = dict.fromkeys(inputs, dependencies)
    urn = make_urn(stack, project, "" if parent is None else parent.urn, request.type, request.name)
    goal = Goal(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=request.parent,
        inputs=inputs,
        provider=request.provider,
        version=request.version,
        dependencies=dependencies,
        property_dependencies=by_property,
        protect=request.protect,
        ignore_changes=tuple(request.ignoreChanges),
        delete_before_replace=request.deleteBeforeReplace if _says_when_to_delete(request) else None,
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        aliases=_aliases(request, stack, project, urn),
        custom_timeouts=_timeouts(request),
        retain_on_delete=request.retainOnDelete,
        deleted_with=request.deletedWith,
        replace_on_changes=tuple(request.replaceOnChanges),
        source_position=_position(request),
        providers=dict(request.providers),
    )
    if parent is None:
        return goal
    goal = _inherited(goal, parent)
    if not request.HasField("protect"):
        goal = replace(goal, protect=parent.protect)
    if not request.HasField("retainOnDelete"):
        goal = replace(goal, retain_on_delete=parent.retain_on_delete)
    return goal


def _inherited(goal: Goal, parent: Goal) -> Goal:
    package = package_of(goal.type)
    providers = {**parent.providers, **goal.providers}
    provider = goal.provider
    if not goal.is_provider and goal.custom and not provider:
        provider = goal.providers.get(package, "") or parent.providers.get(package, "")
    return replace(
        goal,
        deleted_with=goal.deleted_with or parent.deleted_with,
        provider="" if goal.is_provider or not goal.custom else provider,
        providers=providers,
    )


def _refuse_unsupported(request: resource_pb2.RegisterResourceRequest) -> None:
    """What would change the meaning of a program if it were passed over in silence."""
    asked = {
        "a component of another process": request.remote,
        "the option `import_`": bool(request.importId),
        "the option `replace_with`": bool(request.replace_with),
        "the option `replacement_trigger`": request.HasField("replacement_trigger"),
        "a transform": bool(request.transforms),
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise TickoverError(
                "not-supported",
                "Not supported by this engine",
                f"{request.name} asks for {what}; tickover does not do that yet.",
                address=request.name,
            )


def _says_when_to_delete(request: resource_pb2.RegisterResourceRequest) -> bool:
    return request.deleteBeforeReplace or request.deleteBeforeReplaceDefined


def _position(request: resource_pb2.RegisterResourceRequest) -> str:
    position = request.sourcePosition
    if not position.uri:
        return ""
    return f"{position.uri}#{position.line}" + (f",{position.column}" if position.column else "")


def in_project(position: str, root: Path) -> str:
    """A source position as Pulumi writes it for a file of the project: the same wherever that lies."""
    home = root.as_uri() + "/"
    return f"project:///{position.removeprefix(home)}" if position.startswith(home) else position


def _timeouts(request: resource_pb2.RegisterResourceRequest) -> CustomTimeouts | None:
    given = request.customTimeouts
    if not (given.create or given.update or given.delete):
        return None
    return CustomTimeouts(_seconds(given.create), _seconds(given.update), _seconds(given.delete))


def _seconds(text: str) -> float:
    """Seconds of a Go duration such as ``1h5m`` or ``90s``; 0 where nothing is given."""
    total, number, unit = 0.0, "", ""
    for char in text + " ":
        if unit and (char.isdigit() or char in ". "):
            total += float(number or 0) * _UNITS.get(unit, 0.0)
            number, unit = "", ""
        if char.isdigit() or char == ".":
            number += char
        else:
            unit += char.strip()
    return total


def _aliases(
    request: resource_pb2.RegisterResourceRequest, stack: str, project: str, urn: str
) -> tuple[str, ...]:
    found: list[str] = list(request.aliasURNs)
    for alias in request.aliases:
        if alias.WhichOneof("alias") == "urn":
            found.append(alias.urn)
            continue
        spec = alias.spec
        parent = "" if spec.noParent else (spec.parentUrn or request.parent)
        if parent and parse_urn(parent).type == STACK_TYPE:
            parent = ""
        found.append(
            make_urn(
                spec.stack or stack,
                spec.project or project,
                parent,
                spec.type or request.type,
                spec.name or request.name,
            )
        )
    return tuple(dict.fromkeys(a for a in found if a and a != urn))
