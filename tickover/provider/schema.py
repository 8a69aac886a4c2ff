"""The Pulumi package schema of provider "tickover", made from the pydantic models.

Owns: the translation of annotations to schema types. Promises: the same JSON for the same models, sorted.
Never: lists a property by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tickover.provider.config import KEYS, SECRET_KEYS
from tickover.provider.handler import Handler
from tickover.provider.shape import is_secret_field, nested_model, wire_names

_SCALARS: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
# Types of the outputs that only the API knows; text unless named here.
_COMPUTED: dict[str, dict[str, Any]] = {
    "httpTrigger": {"type": "object", "additionalProperties": {"type": "string"}},
    "target": {"type": "integer"},
    "current": {"type": "integer"},
}
_ANY: dict[str, Any] = {"$ref": "pulumi.json#/Any"}


def package_schema(handlers: Mapping[str, Handler], version: str) -> dict[str, Any]:
    """The schema as a JSON object."""
    types: dict[str, Any] = {}
    resources = {token: _resource(handlers[token], types) for token in sorted(handlers)}
    config = {key: _config(key) for key in KEYS}
    return {
        "name": "tickover",
        "displayName": "tickover",
        "version": version,
        "description": "Reserved, idling model servers on your own host or on Function Compute.",
        "license": "Apache-2.0",
        "config": {"variables": config},
        "provider": {"inputProperties": config},
        "types": dict(sorted(types.items())),
        "resources": resources,
    }


def schema_text(handlers: Mapping[str, Handler], version: str) -> str:
    """The schema as GetSchema answers it."""
    return json.dumps(package_schema(handlers, version), ensure_ascii=False)


def _config(key: str) -> dict[str, Any]:
    return {"type": "string", **({"secret": True} if key in SECRET_KEYS else {})}


def _resource(handler: Handler, types: dict[str, Any]) -> dict[str, Any]:
    inputs, required = _properties(handler.model, types)
    replaced = inputs.keys() if handler.replaces is None else handler.replaces
    for name in inputs.keys() & set(replaced):
        inputs[name] = {**inputs[name], "willReplaceOnChanges": True}
    computed = {
        name: _COMPUTED.get(name, {"type": "string"}) for name in (*handler.stable, *handler.volatile)
    }
    return {
        "description": _summary(type(handler)),
        "inputProperties": inputs,
        "requiredInputs": required,
        "properties": {**inputs, **computed},
        "required": sorted({*required, *handler.stable}),
    }


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""


def _properties(model: type[BaseModel], types: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    names = wire_names(model)
    properties = {names[n]: _property(names[n], field, types) for n, field in model.model_fields.items()}
    return properties, sorted(names[n] for n, field in model.model_fields.items() if field.is_required())


def _property(wire: str, field: FieldInfo, types: dict[str, Any]) -> dict[str, Any]:
    told = dict(_type(field.annotation, types))
    if field.description:
        told["description"] = field.description
    if is_secret_field(wire, field):
        told["secret"] = True
    return told


def _type(annotation: Any, types: dict[str, Any]) -> dict[str, Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0], types)
    if origin in (Union, UnionType):
        options = [p for p in parts if p is not NoneType]
        return _type(options[0], types) if len(options) == 1 else _union(options, types)
    if origin is Literal:
        return {"type": _SCALARS[type(parts[0])]}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": _type(parts[0], types)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _type(parts[1], types)}
    if nested_model(annotation) is not None:
        return _reference(annotation, types)
    if annotation in _SCALARS:
        return {"type": _SCALARS[annotation]}
    return _ANY


def _union(options: Sequence[Any], types: dict[str, Any]) -> dict[str, Any]:
    """int | float is a number; anything else mixed is left open."""
    if set(options) == {int, float}:
        return {"type": "number"}
    return {"oneOf": [_type(option, types) for option in options]}


def _reference(model: type[BaseModel], types: dict[str, Any]) -> dict[str, Any]:
    token = f"tickover:fc:{model.__name__}"
    if token not in types:
        types[token] = {}  # taken, so that a model that contains itself ends here
        properties, required = _properties(model, types)
        types[token] = {
            "type": "object",
            "description": _summary(model),
            "properties": properties,
            "required": required,
        }
    return {"$ref": f"#/types/{token}"}
