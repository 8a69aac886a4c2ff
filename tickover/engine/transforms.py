"""Transforms: callbacks of the program that may change a registration or an invoke before the engine sees it.

Owns: which transforms apply to what. Promises: a resource's own run first, then its ancestors' upward, then
the stack's; properties travel as output values, so that what a transform moves keeps its dependencies and
secretness. Never: knows what a property means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.proto import callback_pb2, resource_pb2

from tickover.engine import wire
from tickover.engine.callbacks import Callbacks

_SIGNED: Final = wire.SIG_KEY


@dataclass(frozen=True, slots=True)
class Draft:
    """A registration as it is before the engine decides: what transforms read and write.

    property_dependencies: URNs by property.
    """

    type: str
    name: str
    custom: bool
    parent: str
    properties: Struct
    options: resource_pb2.TransformResourceOptions
    property_dependencies: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class Transforms:
    """The transforms of one run. pending: of remote components, whose process registers them again."""

    callbacks: Callbacks
    stack: list[callback_pb2.Callback] = field(default_factory=list)
    invokes: list[callback_pb2.Callback] = field(default_factory=list)
    of_resource: dict[str, tuple[callback_pb2.Callback, ...]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    pending: dict[tuple[str, str, str], tuple[callback_pb2.Callback, ...]] = field(default_factory=dict)

    def own(
        self, request: resource_pb2.RegisterResourceRequest, key: tuple[str, str, str]
    ) -> tuple[callback_pb2.Callback, ...]:
        """The registration's own transforms."""
        if key in self.pending:
            return self.pending.pop(key)
        found = tuple(request.transforms)
        if request.remote and found:
            self.pending[key] = found
        return found

    def remember(self, urn: str, parent: str, own: Sequence[callback_pb2.Callback]) -> None:
        """urn is registered: its transforms apply to its descendants."""
        self.parents[urn] = parent
        if own:
            self.of_resource[urn] = tuple(own)

    def applying(
        self, own: Sequence[callback_pb2.Callback], parent: str
    ) -> tuple[callback_pb2.Callback, ...]:
        """All that apply to a resource with these transforms and this parent, in order."""
        found = list(own)
        while parent and self.of_resource:
            found += self.of_resource.get(parent, ())
            parent = self.parents.get(parent, "")
        return (*found, *self.stack)

    async def transformed(
        self, draft: Draft, transforms: Sequence[callback_pb2.Callback], has_own: bool
    ) -> Draft:
        """draft after all transforms. Raises TickoverError.

        has_own: the registration brought transforms itself; then properties carry their dependencies along,
        so that these follow a value wherever a transform moves it.
        """
        if not transforms:
            return draft
        properties = Struct()
        for key, value in draft.properties.fields.items():
            properties.fields[key].CopyFrom(_raised(value))
        if has_own:
            properties = _tracked(properties, draft.property_dependencies)
        options = draft.options
        for transform in transforms:
            request = resource_pb2.TransformRequest(
                type=draft.type,
                name=draft.name,
                custom=draft.custom,
                parent=draft.parent,
                properties=properties,
                options=options,
            )
            answer = await self.callbacks.invoke(transform, request, resource_pb2.TransformResponse)
            if answer.HasField("properties"):
                properties = answer.properties
            if answer.HasField("options"):
                options = answer.options
        known = {} if has_own else draft.property_dependencies
        dependencies = {
            key: tuple(sorted({*known.get(key, ()), *wire.dependencies_of(value)}))
            for key, value in properties.fields.items()
        }
        merged = sorted({*options.depends_on, *(urn for urns in dependencies.values() for urn in urns)})
        del options.depends_on[:]
        options.depends_on.extend(merged)
        return Draft(draft.type, draft.name, draft.custom, draft.parent, properties, options, dependencies)

    async def transformed_invoke(
        self, token: str, args: Struct, options: resource_pb2.TransformInvokeOptions
    ) -> tuple[Struct, resource_pb2.TransformInvokeOptions]:
        """Arguments and options of an invoke after all transforms."""
        for transform in self.invokes:
            request = resource_pb2.TransformInvokeRequest(token=token, args=args, options=options)
            answer = await self.callbacks.invoke(transform, request, resource_pb2.TransformInvokeResponse)
            if answer.HasField("args"):
                args = answer.args
            if answer.HasField("options"):
                options = answer.options
        return args, options


def _tracked(properties: Struct, dependencies: Mapping[str, tuple[str, ...]]) -> Struct:
    """properties as output values that carry their dependencies."""
    result = Struct()
    for key, value in properties.fields.items():
        urns = dependencies.get(key, ())
        if urns:
            result.fields[key].CopyFrom(_as_output(value, urns))
        else:
            result.fields[key].CopyFrom(value)
    return result


def _raised(value: Value) -> Value:
    """value with its secrets and unknowns as output values: these stay where they are inside lists and maps,
    while a secret as such spreads to the whole."""
    kind = value.WhichOneof("kind")
    if kind == "string_value" and value.string_value in wire.UNKNOWN_SENTINELS:
        return _as_output(value, ())
    result = Value()
    if kind == "list_value":
        result.list_value.SetInParent()
        for item in value.list_value.values:
            result.list_value.values.add().CopyFrom(_raised(item))
    elif kind == "struct_value":
        fields = value.struct_value.fields
        if _SIGNED in fields and fields[_SIGNED].string_value == wire.SECRET_SIG:
            return _as_output(value, ())
        result.struct_value.SetInParent()
        for key, item in fields.items():
            result.struct_value.fields[key].CopyFrom(_raised(item))
    else:
        result.CopyFrom(value)
    return result


def _as_output(value: Value, urns: Sequence[str]) -> Value:
    inner, secret = value, False
    fields = value.struct_value.fields if value.HasField("struct_value") else {}
    signature = fields[_SIGNED].string_value if _SIGNED in fields else ""
    if signature == wire.OUTPUT_SIG:
        raised = Value()
        raised.CopyFrom(value)
        if urns:
            known = {*urns, *(d.string_value for d in fields["dependencies"].list_value.values)}
            del raised.struct_value.fields["dependencies"].list_value.values[:]
            raised.struct_value.fields["dependencies"].list_value.values.extend(
                Value(string_value=urn) for urn in sorted(known)
            )
        return raised
    if signature == wire.SECRET_SIG:
        inner, secret = fields["value"], True
    result = Value()
    target = result.struct_value.fields
    target[_SIGNED].string_value = wire.OUTPUT_SIG
    if not (inner.HasField("string_value") and inner.string_value in wire.UNKNOWN_SENTINELS):
        target["value"].CopyFrom(inner)
    if secret:
        target["secret"].bool_value = True
    if urns:
        target["dependencies"].list_value.values.extend(Value(string_value=urn) for urn in urns)
    return result
