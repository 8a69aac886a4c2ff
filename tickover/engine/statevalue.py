"""Property values as the state file keeps them.

Owns: the encoding of secrets, unknowns, references, assets and odd floats inside state JSON. Promises:
secrets leave only encrypted, or in clear where `show_secrets` asks for it; maps are sorted. Never: knows
resources (see `stateio`) or protobuf (see `wire`).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tickover.engine.secrets import Crypter, PlainCrypter
from tickover.engine.values import (
    UNKNOWN,
    Archive,
    Asset,
    PropertyMap,
    PropertyValue,
    ResourceReference,
    Secret,
    Unknown,
)
from tickover.engine.wire import (
    RESOURCE_SIG,
    SECRET_SIG,
    SIG_KEY,
    UNKNOWN_STRING,
    as_number,
    as_secret,
    raise_markers,
    signed_form,
)
from tickover.errors import TickoverError

FLOAT_SIG: Final = "8ad145fe-0d11-4827-bfd7-1abcbf086f5c"
_PLAIN: Final = PlainCrypter()


def rfc3339(moment: datetime) -> str:
    """A moment as the CLI writes it: in UTC, no zeros at the end of a second's fraction."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") + "Z"


def dumps(value: Any) -> str:
    """Compact JSON as Pulumi writes it: UTF-8 as is, no HTML escaping."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def malformed(what: str) -> TickoverError:
    """The error for a deployment that is not one."""
    return TickoverError("bad-state", "State cannot be read", f"The deployment is not usable: {what}.")


def value_to_json(value: PropertyValue, crypter: Crypter, show_secrets: bool = False) -> Any:
    """value as state keeps it."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            number = as_number(value) if math.isfinite(value) else None
            return _float_form(value) if number is None else number
        case dict():
            return props_to_json(value, crypter, show_secrets)
        case list() | tuple():
            return [value_to_json(item, crypter, show_secrets) for item in value]
        case Unknown():
            return UNKNOWN_STRING
        case Secret():
            # What lies inside is encrypted once, as a whole; inner secrets keep only their mark.
            text = dumps(value_to_json(value.value, _PLAIN, show_secrets))
            if show_secrets:
                return {SIG_KEY: SECRET_SIG, "plaintext": text}
            return {SIG_KEY: SECRET_SIG, "ciphertext": crypter.encrypt(text)}
        case ResourceReference():
            id_ = "" if isinstance(value.id, Unknown) else value.id
            form = {SIG_KEY: RESOURCE_SIG, "packageVersion": value.package_version}
            return dict(sorted((form | {"urn": value.urn} | ({} if id_ is None else {"id": id_})).items()))
        case Asset() | Archive():
            return props_to_json(signed_form(value), crypter, show_secrets)
    raise TypeError(f"{type(value).__name__} is no property value")


def props_to_json(props: Mapping[str, PropertyValue], crypter: Crypter, show_secrets: bool = False) -> Any:
    """A property map as state keeps it, keys sorted."""
    return {k: value_to_json(props[k], crypter, show_secrets) for k in sorted(props)}


def _float_form(value: float) -> dict[str, str]:
    return {SIG_KEY: FLOAT_SIG, "value": struct.pack(">d", value).hex()}


def value_from_json(raw: Any, crypter: Crypter) -> PropertyValue:
    """The value that state keeps as raw."""
    match raw:
        case str():
            return UNKNOWN if raw == UNKNOWN_STRING else raw
        case float():
            return as_number(raw)
        case list():
            return [value_from_json(item, crypter) for item in raw]
        case dict():
            signature = raw.get(SIG_KEY)
            if signature == SECRET_SIG:
                return _secret_from_json(raw, crypter)
            if signature == FLOAT_SIG:
                return struct.unpack(">d", bytes.fromhex(str(raw.get("value"))))[0]
            return raise_markers({k: value_from_json(v, crypter) for k, v in raw.items()})
        case _:
            return raw


def props_from_json(raw: Mapping[str, Any] | None, crypter: Crypter) -> PropertyMap:
    return {k: value_from_json(v, crypter) for k, v in (raw or {}).items()}


def _secret_from_json(raw: Mapping[str, Any], crypter: Crypter) -> Secret:
    ciphertext, plaintext = raw.get("ciphertext"), raw.get("plaintext")
    if isinstance(ciphertext, str) and plaintext is None:
        plaintext = crypter.decrypt(ciphertext)
    if not isinstance(plaintext, str):
        raise malformed("a secret has neither one ciphertext nor one plaintext")
    try:
        inner = json.loads(plaintext)
    except ValueError as error:
        raise malformed("a secret does not hold JSON") from error
    return as_secret(value_from_json(inner, _PLAIN))
