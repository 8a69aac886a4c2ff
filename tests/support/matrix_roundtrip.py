"""An exported stack, judged as a file: by the JSON schemas that Pulumi ships, and by importing it again.

Owns: the schemas' registry, the trip through `stack import` and `stack export`. Promises: tells every place
that differs. Never: mends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import referencing

from tests.support.real_pulumi import Workspace, cli_binary

_BASE: Final = "https://github.com/pulumi/pulumi/blob/master/sdk/go/common/apitype/"
# The CLI writes these into version 3 as well; the schema that it ships does not know them.
_NEWER: Final = frozenset(
    [
        "created",
        "deletedWith",
        "hideDiff",
        "ignoreChanges",
        "modified",
        "refreshBeforeUpdate",
        "replaceOnChanges",
        "replaceWith",
        "replacementTrigger",
        "resourceHooks",
        "retainOnDelete",
        "sourcePosition",
        "stackTrace",
        "taint",
        "viewOf",
    ]
)
_ZEROS: Final = re.compile(r"(\.\d*?)0*Z$")
_KEPT: Final = ("version", "features", "deployment.resources", "deployment.secrets_providers.type")


def schemas() -> Path | None:
    """The folder of schemas that lies beside a CLI built by build.sh."""
    folder = Path(cli_binary()).resolve().parent / "schemas"
    return folder if folder.is_dir() else None


@lru_cache
def _validator(folder: Path) -> jsonschema.Draft202012Validator:
    documents = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    known = [(_BASE + name, referencing.Resource.from_contents(one)) for name, one in documents.items()]
    registry = referencing.Registry().with_resources(known)
    return jsonschema.Draft202012Validator(documents["deployments.json"], registry=registry)


def schema_errors(exported: Mapping[str, Any]) -> list[str]:
    """Where an exported stack is not what the schema says. Empty without schemas."""
    folder = schemas()
    if folder is None:
        return []
    known = json.loads(json.dumps(exported))
    for resource in known["deployment"].get("resources") or ():
        for key in _NEWER & resource.keys():
            del resource[key]
    errors = _validator(folder).iter_errors(known)
    return [f"schema: {_deepest(error)}" for error in errors]


def _deepest(error: Any) -> str:
    while error.context:
        error = min(error.context, key=lambda one: -len(one.absolute_path))
    return f"{error.json_path}: {error.message[:300]}"


def round_trip(space: Workspace, engine: str, stack: str, exported: Mapping[str, Any]) -> list[str]:
    """What an engine gives back otherwise than it was given. space: fresh, of the same project name."""
    space.init(engine, stack)
    file = space.folder / "exported.json"
    file.write_text(json.dumps(exported))
    space.ok(engine, "stack", "import", "-s", stack, "--file", str(file))
    again = space.export(engine, stack)
    return [
        f"  {place}: {before} became {after}"
        for key in _KEPT
        for place, before, after in differences(key, _at(exported, key), _at(again, key))
    ]


def _at(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = (document or {}).get(part)
    return document


def differences(place: str, before: Any, after: Any) -> list[tuple[str, str, str]]:
    """The innermost places at which two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [one for key in keys for one in differences(f"{place}.{key}", before.get(key), after.get(key))]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [one for index, (old, new) in pairs for one in differences(f"{place}[{index}]", old, new)]
    if _instant(before) == _instant(after) or (
        not before and not after and before in (None, [], {}, "", False)
    ):
        return []
    return [(place, json.dumps(before)[:200], json.dumps(after)[:200])]


def _instant(value: Any) -> Any:
    """A time without the zeros that its fraction ends with: the CLI leaves them out."""
    return (
        _ZEROS.sub(lambda found: found[1].rstrip(".") + "Z", value)
        if isinstance(value, str) and value.endswith("Z")
        else value
    )
