"""Pieces of the provider protocol's messages, and how the engine's values stand in them.

Owns: what a peer accepts, and the reading of a diff. Promises: pure functions. Never: makes a call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pulumi.runtime.proto import provider_pb2

from tickover.engine import wire
from tickover.engine.plugins.marks import without_unknowns
from tickover.engine.provider import CheckFailure, DiffKind, InitFailed, PropertyDiff
from tickover.engine.urn import PROVIDER_TYPE_PREFIX, is_urn, parse_urn
from tickover.engine.values import PropertyMap, PropertyValue, reveal

CHANGES: Final[Mapping[Any, bool | None]] = {
    provider_pb2.DiffResponse.DIFF_NONE: False,
    provider_pb2.DiffResponse.DIFF_SOME: True,
}
_KINDS: Final = {provider_pb2.PropertyDiff.Kind.Value(kind.name): kind for kind in DiffKind}


@dataclass(frozen=True, slots=True)
class Accepts:
    """What the peer understands. previews: it takes Create and Update with preview set. naming: it heeds
    the names that Check proposes."""

    secrets: bool = False
    resources: bool = False
    outputs: bool = False
    previews: bool = False
    naming: bool = False

    def encode(self, values: Mapping[str, PropertyValue], *, unknowns: bool = False) -> Any:
        return wire.encode(
            values, keep_unknowns=unknowns, keep_secrets=self.secrets, keep_resources=self.resources
        )


NOTHING: Final = Accepts()


def unfinished(id_: str, outputs: PropertyMap) -> InitFailed:
    """An object that is there, of which the provider left values open: kept, and the next run looks again."""
    return InitFailed(
        id_, without_unknowns(outputs), ("The provider answered with values that are not known.",)
    )


def detailed_diff(answer: Any) -> dict[str, PropertyDiff]:
    """The change of each path, where the provider says it; a kind of a later protocol is an update."""
    if not answer.hasDetailedDiff:
        return {}
    return {
        path: PropertyDiff(_KINDS.get(change.kind, DiffKind.UPDATE), change.inputDiff)
        for path, change in sorted(answer.detailedDiff.items())
    }


def check_failures(failures: Any) -> tuple[CheckFailure, ...]:
    return tuple(CheckFailure(f.property, f.reason) for f in failures)


def name_it(message: Any, urn: str) -> None:
    """Put the resource's URN, name and type in message."""
    message.urn = urn
    if is_urn(urn):
        parsed = parse_urn(urn)
        message.name, message.type = parsed.name, parsed.type


def package_of(urn: str) -> str:
    """The package that the type of a provider resource names."""
    type_ = parse_urn(urn).type if is_urn(urn) else ""
    return type_.removeprefix(PROVIDER_TYPE_PREFIX) if type_.startswith(PROVIDER_TYPE_PREFIX) else ""


def as_variable(value: PropertyValue) -> str:
    """A configuration value in the older form: text, or JSON of anything else."""
    plain = reveal(value)
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"), default=str)
