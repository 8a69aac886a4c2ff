"""Deployments as the JSON that Pulumi keeps: the checkpoint file and the document of ``stack export``.

Owns: Pulumi's field names and their order, the encoding of property values in state. Promises: secrets
leave only encrypted (or in clear where `show_secrets` asks for it); fields this engine does not know are
carried unchanged; what is written is compact, maps sorted, no HTML escaping. Never: touches files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tickover.engine.secrets import Crypter
from tickover.engine.state import (
    CustomTimeouts,
    Deployment,
    PendingOperation,
    PendingType,
    ResourceState,
    SecretsProvider,
)
from tickover.engine.statevalue import (
    dumps,
    malformed,
    props_from_json,
    props_to_json,
    value_from_json,
    value_to_json,
)
from tickover.engine.values import Secret, contains_secret
from tickover.engine.wire import as_number

SCHEMA_VERSION: Final = 3
FEATURES_VERSION: Final = 4
# Features of a version 4 file that lose nothing when their fields are carried unchanged.
KNOWN_FEATURES: Final = frozenset(
    {
        "refreshBeforeUpdate",
        "views",
        "hooks",
        "taint",
        "replaceWith",
        "byteString",
        "extensionParameterization",
        "snippets-prototype",
    }
)
_FEATURE_OF_FIELD: Final = {
    "refreshBeforeUpdate": "refreshBeforeUpdate",
    "viewOf": "views",
    "resourceHooks": "hooks",
    "taint": "taint",
    "replaceWith": "replaceWith",
    "extensionRef": "extensionParameterization",
    "snippetID": "snippets-prototype",
}
# Pulumi's order of the fields of a resource; what is not here comes last.
_FIELD_ORDER: Final = (
    *("urn", "custom", "delete", "id", "type", "inputs", "outputs", "parent", "protect", "taint", "external"),
    *("dependencies", "initErrors", "provider", "propertyDependencies", "pendingReplacement"),
    *("additionalSecretOutputs", "aliases", "customTimeouts", "importID", "retainOnDelete", "deletedWith"),
    *("replaceWith", "created", "modified", "sourcePosition", "stackTrace", "ignoreChanges", "hideDiff"),
    *("replaceOnChanges", "replacementTrigger", "refreshBeforeUpdate", "viewOf", "resourceHooks"),
    *("extensionRef", "snippetID"),
)
_RANK: Final = {name: index for index, name in enumerate(_FIELD_ORDER)}
_MANIFEST_KEYS: Final = frozenset({"time", "magic", "version"})
_DEPLOYMENT_KEYS: Final = frozenset({"manifest", "secrets_providers", "resources", "pending_operations"})
# Keys of Deployment.extra that are not fields of the deployment object itself.
EXTRA_MANIFEST: Final = "$manifest"
EXTRA_FEATURES: Final = "$features"
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"

# Gives the crypter of a deployment, `Keyring.for_provider`.
CrypterFor = Callable[[SecretsProvider | None], Crypter]


def magic(version: str) -> str:
    """The manifest's cookie: sha256 hex of the version, empty for none."""
    return hashlib.sha256(version.encode("utf-8")).hexdigest() if version else ""


# --- resources ---------------------------------------------------------------------------------------


_TRIGGER: Final = "replacementTrigger"


def resource_to_json(state: ResourceState, crypter: Crypter, show_secrets: bool = False) -> dict[str, Any]:
    """One entry of ``resources``; empty fields are left out, as Pulumi does."""
    fields: dict[str, Any] = {
        "urn": state.urn,
        "custom": state.custom,
        "delete": state.delete,
        "id": state.id,
        "type": state.type,
        "inputs": props_to_json(state.inputs, crypter, show_secrets),
        "outputs": props_to_json(state.outputs, crypter, show_secrets),
        "parent": state.parent,
        "protect": state.protect,
        "external": state.external,
        "dependencies": list(state.dependencies),
        "initErrors": list(state.init_errors),
        "provider": state.provider,
        "propertyDependencies": {
            k: list(state.property_dependencies[k]) for k in sorted(state.property_dependencies)
        },
        "pendingReplacement": state.pending_replacement,
        "additionalSecretOutputs": list(state.additional_secret_outputs),
        "aliases": list(state.aliases),
        "customTimeouts": _timeouts_to_json(state.custom_timeouts),
        "importID": state.import_id,
        "retainOnDelete": state.retain_on_delete,
        "deletedWith": state.deleted_with,
        "created": state.created,
        "modified": state.modified,
        "sourcePosition": state.source_position,
        "ignoreChanges": list(state.ignore_changes),
        "replaceOnChanges": list(state.replace_on_changes),
    }
    kept = {k: v for k, v in fields.items() if v or k in ("urn", "custom", "type")} | dict(state.extra)
    if (trigger := kept.get(_TRIGGER)) is not None:
        kept[_TRIGGER] = value_to_json(trigger, crypter, show_secrets)
    return {k: kept[k] for k in sorted(kept, key=lambda name: (_RANK.get(name, len(_RANK)), name))}


def _timeouts_to_json(timeouts: CustomTimeouts | None) -> dict[str, float]:
    if timeouts is None:
        return {}
    seconds = {
        "create": timeouts.create,
        "update": timeouts.update,
        "delete": timeouts.delete,
        "read": timeouts.read,
    }
    return {k: as_number(float(v)) for k, v in seconds.items() if v}


def resource_from_json(raw: Mapping[str, Any], crypter: Crypter) -> ResourceState:
    """One entry of ``resources``. Unknown fields go to `extra`."""
    timeouts = raw.get("customTimeouts") or {}
    return ResourceState(
        urn=raw.get("urn") or "",
        type=raw.get("type") or "",
        custom=bool(raw.get("custom")),
        delete=bool(raw.get("delete")),
        id=raw.get("id") or "",
        inputs=props_from_json(raw.get("inputs"), crypter),
        outputs=props_from_json(raw.get("outputs"), crypter),
        parent=raw.get("parent") or "",
        provider=raw.get("provider") or "",
        dependencies=tuple(raw.get("dependencies") or ()),
        property_dependencies={k: tuple(v or ()) for k, v in (raw.get("propertyDependencies") or {}).items()},
        protect=bool(raw.get("protect")),
        external=bool(raw.get("external")),
        pending_replacement=bool(raw.get("pendingReplacement")),
        init_errors=tuple(raw.get("initErrors") or ()),
        additional_secret_outputs=tuple(raw.get("additionalSecretOutputs") or ()),
        aliases=tuple(raw.get("aliases") or ()),
        custom_timeouts=CustomTimeouts(**{k: float(v) for k, v in timeouts.items()}) if timeouts else None,
        import_id=raw.get("importID") or "",
        retain_on_delete=bool(raw.get("retainOnDelete")),
        deleted_with=raw.get("deletedWith") or "",
        created=raw.get("created") or "",
        modified=raw.get("modified") or "",
        source_position=raw.get("sourcePosition") or "",
        ignore_changes=tuple(raw.get("ignoreChanges") or ()),
        replace_on_changes=tuple(raw.get("replaceOnChanges") or ()),
        extra={
            k: _trigger_from_json(v, crypter) if k == _TRIGGER else v
            for k, v in raw.items()
            if k not in _MODELLED
        },
    )


def _trigger_from_json(raw: Any, crypter: Crypter) -> Any:
    """As the CLI reads it back: of a secret only that there is one, so that another one replaces nothing."""
    trigger = value_from_json(raw, crypter)
    return Secret(None) if contains_secret(trigger) else trigger


_MODELLED: Final = frozenset(_FIELD_ORDER) - {
    *("taint", "replaceWith", "stackTrace", "hideDiff", "replacementTrigger", "refreshBeforeUpdate"),
    *("viewOf", "resourceHooks", "extensionRef", "snippetID"),
}


# --- deployments ---------------------------------------------------------------------------------------


def deployment_to_json(
    deployment: Deployment, crypter: Crypter, show_secrets: bool = False
) -> dict[str, Any]:
    """The deployment object, secrets under crypter."""
    manifest = {
        "time": deployment.time or _ZERO_TIME,
        "magic": magic(deployment.version),
        "version": deployment.version,
    }
    resources = [resource_to_json(r, crypter, show_secrets) for r in deployment.resources]
    pending = [
        {"resource": resource_to_json(op.resource, crypter, show_secrets), "type": op.type.value}
        for op in deployment.pending_operations
    ]
    body: dict[str, Any] = {"manifest": manifest | dict(deployment.extra.get(EXTRA_MANIFEST, {}))}
    # Asked for last: a crypter without a salt makes one when the first secret comes by.
    if (provider := crypter.provider or deployment.secrets_provider) is not None:
        body["secrets_providers"] = {"type": provider.type, "state": dict(provider.state)}
    if resources:
        body["resources"] = resources
    if pending:
        body["pending_operations"] = pending
    # The CLI always writes metadata, empty or not.
    return body | {"metadata": {}} | {k: v for k, v in deployment.extra.items() if not k.startswith("$")}


def deployment_from_json(raw: Mapping[str, Any], crypter_for: CrypterFor) -> Deployment:
    """The deployment in raw; raises TickoverError if it is none, or its magic does not match."""
    manifest = raw.get("manifest") or {}
    version = manifest.get("version") or ""
    if (manifest.get("magic") or "") != magic(version):
        raise malformed("the manifest's magic does not match its version; the file was changed or damaged")
    provider_raw = raw.get("secrets_providers") or {}
    provider = None
    if provider_raw.get("type"):
        provider = SecretsProvider(provider_raw["type"], provider_raw.get("state") or {})
    crypter = crypter_for(provider)
    extra = {k: v for k, v in raw.items() if k not in _DEPLOYMENT_KEYS and v not in (None, {}, [])}
    if more := {k: v for k, v in manifest.items() if k not in _MANIFEST_KEYS}:
        extra[EXTRA_MANIFEST] = more
    try:
        return Deployment(
            resources=tuple(resource_from_json(r, crypter) for r in raw.get("resources") or ()),
            pending_operations=tuple(
                PendingOperation(resource_from_json(op["resource"], crypter), PendingType(op["type"]))
                for op in raw.get("pending_operations") or ()
            ),
            secrets_provider=provider,
            time=manifest.get("time") or "",
            version=version,
            extra=extra,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise malformed(f"it has a field of another shape ({type(error).__name__}: {error})") from error


def features_of(deployment: Deployment) -> list[str]:
    """The features of checkpoint version 4 that the deployment uses, sorted."""
    found = set(deployment.extra.get(EXTRA_FEATURES, ()))
    for resource in deployment.resources:
        found.update(_FEATURE_OF_FIELD[k] for k, v in resource.extra.items() if v and k in _FEATURE_OF_FIELD)
    return sorted(found)


def _versioned(deployment: Deployment) -> dict[str, Any]:
    features = features_of(deployment)
    return {"version": FEATURES_VERSION, "features": features} if features else {"version": SCHEMA_VERSION}


def checkpoint_bytes(deployment: Deployment, stack: str, project: str, crypter: Crypter) -> bytes:
    """The checkpoint file of a stack."""
    checkpoint = {
        "stack": f"organization/{project}/{stack}",
        "latest": deployment_to_json(deployment, crypter),
    }
    return dumps(_versioned(deployment) | {"checkpoint": checkpoint}).encode("utf-8", "replace")


def deployment_from_checkpoint(data: bytes, crypter_for: CrypterFor) -> Deployment:
    """The deployment in a checkpoint file; an empty one if the stack was never deployed."""
    document = _document(data)
    features = _check_version(document)
    latest = (document.get("checkpoint") or {}).get("latest") or {}
    if not latest:
        return Deployment()
    return _with_features(deployment_from_json(latest, crypter_for), features)


def export_document(deployment: Deployment, crypter: Crypter, show_secrets: bool = False) -> dict[str, Any]:
    """What ``stack export`` prints: ``{"version": 3, "deployment": {...}}``."""
    return _versioned(deployment) | {"deployment": deployment_to_json(deployment, crypter, show_secrets)}


def deployment_from_export(document: Mapping[str, Any], crypter_for: CrypterFor) -> Deployment:
    """The deployment in a document of ``stack export``, ours or the CLI's."""
    features = _check_version(document)
    body = document.get("deployment")
    if not isinstance(body, dict):
        raise malformed("it has no `deployment`")
    return _with_features(deployment_from_json(body, crypter_for), features)


def _with_features(deployment: Deployment, features: list[str]) -> Deployment:
    if not features:
        return deployment
    return replace(deployment, extra=dict(deployment.extra) | {EXTRA_FEATURES: features})


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise malformed(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise malformed("it is not a JSON object")
    return document


def _check_version(document: Mapping[str, Any]) -> list[str]:
    version = document.get("version")
    features = list(document.get("features") or ())
    if version not in (SCHEMA_VERSION, FEATURES_VERSION):
        raise malformed(f"its schema version is {version!r}; tickover reads 3 and 4")
    if unknown := sorted(set(features) - KNOWN_FEATURES):
        raise malformed(f"it uses features that tickover does not know: {', '.join(unknown)}")
    return features
