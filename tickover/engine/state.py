"""What a stack remembers: resources, pending operations, the deployment around them.

Owns: the values and Pulumi's field names for them. Promises: plain frozen data; property maps hold
`values.Secret` in clear in memory and are encrypted only by the serialiser. Never: reads or writes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tickover.engine.values import PropertyMap


@dataclass(frozen=True, slots=True)
class CustomTimeouts:
    """Seconds; 0 means the provider's default."""

    create: float = 0.0
    update: float = 0.0
    delete: float = 0.0
    read: float = 0.0


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One entry of ``deployment.resources``; field meanings as in Pulumi's apitype.ResourceV3."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    inputs: PropertyMap = field(default_factory=dict)
    outputs: PropertyMap = field(default_factory=dict)
    parent: str = ""
    provider: str = ""  # "urn::id" of the provider resource, empty for components
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False
    external: bool = False
    delete: bool = False
    pending_replacement: bool = False
    init_errors: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: CustomTimeouts | None = None
    import_id: str = ""
    retain_on_delete: bool = False
    deleted_with: str = ""
    created: str = ""  # RFC 3339
    modified: str = ""
    source_position: str = ""
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    # Fields this engine does not act on, carried unchanged so that a state is never made poorer.
    extra: Mapping[str, Any] = field(default_factory=dict)


class PendingType(Enum):
    CREATING = "creating"
    UPDATING = "updating"
    DELETING = "deleting"
    READING = "reading"
    IMPORTING = "importing"


@dataclass(frozen=True, slots=True)
class PendingOperation:
    resource: ResourceState
    type: PendingType


@dataclass(frozen=True, slots=True)
class SecretsProvider:
    """``type`` is "passphrase"; ``state`` holds {"salt": "v1:…"}."""

    type: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    resources: tuple[ResourceState, ...] = ()
    pending_operations: tuple[PendingOperation, ...] = ()
    secrets_provider: SecretsProvider | None = None
    time: str = ""  # RFC 3339
    version: str = ""  # version of the tool that wrote it
    extra: Mapping[str, Any] = field(default_factory=dict)
