"""Property values as protobuf Structs, the form in which programs, providers and policies speak.

Owns: Pulumi's signatures and sentinels and both directions of the translation. Promises: what is read
is plain values and the markers of `values` only (output values are lowered to value, Secret or UNKNOWN);
what is written holds only what the peer said it keeps. Never: the state file (see `stateio`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct, Value

from tickover.engine.values import (
    UNKNOWN,
    Archive,
    Asset,
    PropertyMap,
    PropertyValue,
    ResourceReference,
    Secret,
    Unknown,
    contains_secret,
)

SIG_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIG: Final = "1b47061264138c4ac30d75fd1eb44270"
RESOURCE_SIG: Final = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_SIG: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET_SIG: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIG: Final = "0def7320c3a5731c473e5ecbe6d01bc7"

UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_SENTINELS: Final = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
    }
)
_EXACT_INTEGER = 2.0**53


class _Drop:
    """What a value becomes when the peer cannot be told about it."""


_DROP: Final = _Drop()


@dataclass(frozen=True, slots=True)
class Keep:
    """What the reader of an encoded value understands; the rest is lowered for it."""

    unknowns: bool = True
    secrets: bool = True
    resources: bool = True


def as_number(number: float) -> int | float:
    """Integral numbers as int, as long as a double holds them exactly."""
    if number.is_integer() and abs(number) <= _EXACT_INTEGER:
        return int(number)
    return number


# --- reading -------------------------------------------------------------------------------------


def decode(
    struct: Struct | None,
    *,
    keep_unknowns: bool = True,
    keep_secrets: bool = True,
    keep_resources: bool = True,
) -> PropertyMap:
    """The property map in struct. Without keep_unknowns unknown keys go; without keep_secrets secrets
    are unwrapped; without keep_resources references become their id or URN."""
    if struct is None:
        return {}
    keep = Keep(keep_unknowns, keep_secrets, keep_resources)
    return _narrow_map({k: _decode(v) for k, v in struct.fields.items()}, keep)


def decode_value(value: Value) -> PropertyValue:
    """One value, everything kept."""
    return _decode(value)


def _decode(value: Value) -> PropertyValue:
    match value.WhichOneof("kind"):
        case "string_value":
            text = value.string_value
            return UNKNOWN if text in UNKNOWN_SENTINELS else text
        case "number_value":
            return as_number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode(v) for v in value.list_value.values]
        case "struct_value":
            fields = {k: _decode(v) for k, v in value.struct_value.fields.items()}
            return raise_markers(fields)
        case _:
            return None


def raise_markers(fields: dict[str, Any]) -> PropertyValue:
    """A decoded object: the marker that its signature names, or the object itself."""
    signature = fields.get(SIG_KEY)
    reader = _SIGNED.get(signature) if isinstance(signature, str) else None
    return reader(fields) if reader else fields


def as_secret(value: PropertyValue) -> Secret:
    """value as a Secret, never one directly in another."""
    return value if isinstance(value, Secret) else Secret(value)


def _read_secret(fields: dict[str, Any]) -> PropertyValue:
    return as_secret(fields.get("value"))


def _read_output(fields: dict[str, Any]) -> PropertyValue:
    value = fields.get("value", UNKNOWN)
    return as_secret(value) if fields.get("secret") is True else value


def _read_resource(fields: dict[str, Any]) -> ResourceReference:
    id_ = fields.get("id")
    return ResourceReference(
        urn=str(fields.get("urn", "")),
        id=id_ if isinstance(id_, str | Unknown) else None,
        package_version=str(fields.get("packageVersion") or ""),
    )


def _read_asset(fields: dict[str, Any]) -> Asset:
    path, uri = fields.get("path") or None, fields.get("uri") or None
    text = fields.get("text")
    if path or uri:
        text = None
    return Asset(text=text, path=path, uri=uri, hash=fields.get("hash") or "")


def _read_archive(fields: dict[str, Any]) -> Archive:
    assets = fields.get("assets")
    return Archive(
        assets=assets if isinstance(assets, dict) else None,
        path=fields.get("path") or None,
        uri=fields.get("uri") or None,
        hash=fields.get("hash") or "",
    )


_SIGNED: Final[dict[str, Callable[[dict[str, Any]], PropertyValue]]] = {
    SECRET_SIG: _read_secret,
    OUTPUT_SIG: _read_output,
    RESOURCE_SIG: _read_resource,
    ASSET_SIG: _read_asset,
    ARCHIVE_SIG: _read_archive,
}


def output_dependencies(struct: Struct | None) -> frozenset[str]:
    """URNs named by the output values anywhere in struct (Call arguments and remote components)."""
    return dependencies_of(Value(struct_value=struct)) if struct is not None else frozenset()


def dependencies_of(value: Value) -> frozenset[str]:
    """The same of one value."""
    found: set[str] = set()
    stack = [value]
    while stack:
        value = stack.pop()
        if value.HasField("list_value"):
            stack.extend(value.list_value.values)
        elif value.HasField("struct_value"):
            fields = value.struct_value.fields
            if SIG_KEY in fields and fields[SIG_KEY].string_value == OUTPUT_SIG and "dependencies" in fields:
                found.update(d.string_value for d in fields["dependencies"].list_value.values)
            stack.extend(fields.values())
    return frozenset(found)


# --- narrowing to what a peer keeps -----------------------------------------------------------------


def _narrow(value: PropertyValue, keep: Keep) -> Any:
    match value:
        case Unknown():
            return value if keep.unknowns else _DROP
        case Secret():
            inner = _narrow(value.value, keep)
            return Secret(inner) if keep.secrets and inner is not _DROP else inner
        case ResourceReference():
            if keep.resources:
                return value
            return _narrow(value.urn if value.id is None else value.id, keep)
        case list():
            return [v for v in (_narrow(item, keep) for item in value) if v is not _DROP]
        case dict():
            return _narrow_map(value, keep)
        case Archive():
            assets = value.assets if value.assets is None else _narrow_map(dict(value.assets), keep)
            return Archive(assets, value.path, value.uri, value.hash)
        case _:
            return value


def _narrow_map(props: Mapping[str, Any], keep: Keep) -> PropertyMap:
    if keep == Keep():
        return dict(props)
    narrowed = ((k, _narrow(v, keep)) for k, v in props.items())
    return {k: v for k, v in narrowed if v is not _DROP}


# --- writing -------------------------------------------------------------------------------------


def encode(
    props: Mapping[str, PropertyValue],
    *,
    keep_unknowns: bool = True,
    keep_secrets: bool = True,
    keep_resources: bool = True,
) -> Struct:
    """props as a Struct for a peer that keeps what the flags say; the rest is dropped or lowered."""
    struct = Struct()
    for key, value in _narrow_map(props, Keep(keep_unknowns, keep_secrets, keep_resources)).items():
        _fill(struct.fields[key], value)
    return struct


def encode_value(value: PropertyValue) -> Value:
    """One value, everything kept."""
    target = Value()
    _fill(target, value)
    return target


def remark_secrets(outputs: PropertyMap, inputs: Mapping[str, PropertyValue]) -> PropertyMap:
    """outputs of a peer that does not keep secrets: secret again where the input of that name is."""
    return {
        k: as_secret(v) if k in inputs and contains_secret(inputs[k]) and not contains_secret(v) else v
        for k, v in outputs.items()
    }


def _fill(target: Value, value: PropertyValue) -> None:
    match value:
        case None:
            target.null_value = 0  # type: ignore[assignment]
        case str():
            target.string_value = value
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = value
        case list() | tuple():
            items = target.list_value.values  # touching it makes an empty list a list
            target.list_value.SetInParent()
            for item in value:
                _fill(items.add(), item)
        case Mapping():
            target.struct_value.SetInParent()
            for key, item in value.items():
                _fill(target.struct_value.fields[key], item)
        case Unknown():
            target.string_value = UNKNOWN_STRING
        case _:
            _fill(target, signed_form(value))


def signed_form(value: Secret | ResourceReference | Asset | Archive) -> dict[str, Any]:
    """The object with a signature that stands for a marker on the wire."""
    match value:
        case Secret():
            return {SIG_KEY: SECRET_SIG, "value": value.value}
        case ResourceReference():
            form: dict[str, Any] = {SIG_KEY: RESOURCE_SIG, "urn": value.urn}
            if value.id is not None:
                form["id"] = value.id
            if value.package_version:
                form["packageVersion"] = value.package_version
            return form
        case Asset():
            parts = {"text": value.text, "path": value.path, "uri": value.uri, "hash": value.hash or None}
            return {SIG_KEY: ASSET_SIG} | {k: v for k, v in parts.items() if v is not None}
        case Archive():
            parts = {"path": value.path, "uri": value.uri, "hash": value.hash or None}
            form = {SIG_KEY: ARCHIVE_SIG} | {k: v for k, v in parts.items() if v is not None}
            return form if value.assets is None else form | {"assets": dict(value.assets)}
    raise TypeError(f"{type(value).__name__} is no property value")
