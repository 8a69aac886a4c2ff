"""The alias: a name for one version, or for two in shares.

Owns: `Alias` and the forms of a qualifier. Promises: FC's names and limits. Never: routes a request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from tickover.fc.base import FcModel, Wire
from tickover.fc.function import FunctionName
from tickover.fc.limits import Text

LATEST: Final = "LATEST"
ALIAS_NAME: Final = Text(
    1,
    128,
    r"(?!LATEST$)[A-Za-z_][A-Za-z0-9_-]*",
    "be letters, digits, _ and -, not start with a digit or -, and not be LATEST",
)
VERSION_ID: Final = Text(1, 20, r"[1-9]\d*", "be the number of a published version, written as a text")
AliasName = Annotated[str, ALIAS_NAME]
VersionId = Annotated[str, VERSION_ID]
# LATEST or an alias: what pools take.
MovingQualifier = Annotated[
    str,
    Text(1, 128, r"[A-Za-z_][A-Za-z0-9_-]*", "be LATEST or the name of an alias, not a version number"),
]
# LATEST, an alias or a version: what triggers and routes take.
Qualifier = Annotated[
    str,
    Text(1, 128, r"[A-Za-z_][A-Za-z0-9_-]*|[1-9]\d*", "be LATEST, the name of an alias, or a version number"),
]


def _one_other_version(wire: Wire) -> Iterator[tuple[str, str]]:
    weights = wire.get("additionalVersionWeight") or {}
    if len(weights) > 1:
        yield "additionalVersionWeight", f"must name at most one other version, but has {len(weights)}"
    for version, weight in weights.items():
        here = f"additionalVersionWeight.{version}"
        if not version.isdigit():
            yield here, "must be keyed by the number of a published version"
        if version == wire.get("versionId"):
            yield here, "must be another version than versionId"
        if not 0 <= weight <= 1:
            yield here, f"must be a share between 0 and 1, but is {weight}"


class Alias(FcModel):
    """additional_version_weight: the share of requests, 0 to 1, that another version gets."""

    function_name: FunctionName
    alias_name: AliasName
    version_id: VersionId
    additional_version_weight: dict[str, float] | None = None
    description: Annotated[str | None, Text(0, 256)] = None

    rules = (_one_other_version,)
    in_path = frozenset({"functionName"})
    create_only = frozenset({"aliasName"})
    defaults = {"additionalVersionWeight": {}}  # noqa: RUF012 - typed in FcModel
