"""What a step of a test program led to, in a form in which two engines can be compared.

Owns: reading an exported deployment and the op counts of each engine, taking out what may differ (times,
generated ids, folders, order), and telling the difference. Promises: the same text for the same behaviour.
Never: runs anything.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# May differ between two runs of one engine, or says where a line of code was, not what was deployed.
_VARYING: Final = frozenset({"created", "modified", "sourcePosition", "stackTrace"})
_SORTED: Final = frozenset({"dependencies", "aliases", "additionalSecretOutputs", "replaceWith"})
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Constants of the encoding that look like generated ids.
_KNOWN_UUIDS: Final = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "8ad145fe-0d11-4827-bfd7-1abcbf086f5c",
    }
)
_PICKLE: Final = "__provider"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step under one engine. told: the command and what it printed, for a person who looks into it."""

    step: str
    failed: bool
    resources: tuple[Any, ...]
    pending: tuple[Any, ...]
    counts: Mapping[str, int] | None
    told: str
    missing: tuple[str, ...] = ()
    exported: dict[str, Any] = field(default_factory=dict)
    stack: str = "dev"

    def compared(self) -> dict[str, Any]:
        """What must be the same under both engines."""
        return {
            "exit": "failed" if self.failed else "succeeded",
            "not said": list(self.missing),
            "counts": self.counts,
            "pending operations": self.pending,
            "resources": self.resources,
        }


def normalised(deployment: Mapping[str, Any], folder: Path) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Resources and pending operations, sorted, without what may differ."""
    raw = [_resource(one, folder) for one in deployment.get("resources") or ()]
    pending = [
        {"type": one["type"], "resource": _resource(one["resource"], folder)}
        for one in deployment.get("pending_operations") or ()
    ]
    ids = _Ids()
    cleaned = [ids.replace(_text(one, folder)) for one in sorted(raw, key=_order)]
    waiting = [
        ids.replace(_text(one, folder)) for one in sorted(pending, key=lambda one: _order(one["resource"]))
    ]
    return tuple(map(json.loads, cleaned)), tuple(map(json.loads, waiting))


class _Ids:
    """Generated ids by the order in which they appear."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def replace(self, text: str) -> str:
        return _UUID.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        if found[0] in _KNOWN_UUIDS:
            return found[0]
        return self._seen.setdefault(found[0], f"<generated {len(self._seen) + 1}>")


def _text(value: Any, folder: Path) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text.replace(str(folder), "<folder>")


def _order(resource: Mapping[str, Any]) -> tuple[str, bool, str]:
    anonymous = _UUID.sub("", json.dumps(resource, sort_keys=True))
    return resource["urn"], bool(resource.get("delete")), anonymous


def _resource(resource: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in resource.items():
        if key in _VARYING or (key != "inputs" and key != "outputs" and _is_empty(value)):
            continue
        kept[key] = sorted(value) if key in _SORTED else value
    for key in ("inputs", "outputs"):
        kept[key] = _value(resource.get(key) or {})
        if _PICKLE in kept[key]:
            kept[key][_PICKLE] = _pickled(kept[key][_PICKLE], folder)
    by_property = {
        name: sorted(urns or ()) for name, urns in (kept.pop("propertyDependencies", None) or {}).items()
    }
    if any(by_property.values()):
        kept["propertyDependencies"] = {name: urns for name, urns in by_property.items() if urns}
    return kept


def _pickled(value: Any, folder: Path) -> Any:
    """A dynamic provider's code by its hash; it holds the names of its files."""
    text = value["secret"] if isinstance(value, dict) and "secret" in value else value
    if not isinstance(text, str):
        return value
    code = base64.b64decode(text).replace(str(folder).encode(), b"<folder>")
    return {"secret": text is not value, "code": hashlib.sha256(code).hexdigest()}


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value == "" or value == [] or value == {}


def _value(value: Any) -> Any:
    """A property value; secrets as what they hide, parsed."""
    if isinstance(value, dict):
        if _SIGNATURE in value and "plaintext" in value:
            return {"secret": _value(json.loads(value["plaintext"]))}
        return {key: _value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    return value


def counts_of_real(event_log: Path) -> dict[str, int] | None:
    """Logical steps by op, as the CLI's last event sums them up."""
    if not event_log.exists():
        return None
    for line in reversed(event_log.read_text().splitlines()):
        summary = json.loads(line).get("summaryEvent")
        if summary is not None:
            return _counts(summary.get("resourceChanges") or {})
    return None


def counts_of_ours(json_into: Path) -> dict[str, int] | None:
    """The same of our own event stream."""
    if not json_into.exists():
        return None
    for line in reversed(json_into.read_text().splitlines()):
        event = json.loads(line)
        if event.get("type") == "change_summary":
            return _counts(event["counts"])
    return None


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {op: number for op, number in sorted(counts.items()) if number}


def difference(ours: StepResult, real: StepResult, skipped: Mapping[str, str]) -> list[str]:
    """What differs, as lines for a person; empty if nothing."""
    lines: list[str] = []
    mine, theirs = ours.compared(), real.compared()
    for key in theirs:
        if key in skipped or mine[key] == theirs[key]:
            continue
        if key == "resources":
            lines += resource_difference(mine[key], theirs[key])
        else:
            lines += [f"  {key}: ours {_short(mine[key])}", f"  {' ' * len(key)}  real {_short(theirs[key])}"]
    return lines


def _short(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)[:600]


def resource_difference(ours: tuple[Any, ...], real: tuple[Any, ...]) -> list[str]:
    """The same for resources, as `normalised` gives them."""
    lines: list[str] = []
    mine, theirs = _by_place(ours), _by_place(real)
    for place in sorted(mine.keys() | theirs.keys()):
        if place not in theirs:
            lines.append(f"  only ours has {place}")
        elif place not in mine:
            lines.append(f"  only real has {place}")
        elif mine[place] != theirs[place]:
            lines.append(f"  {place}: (- real, + ours)")
            before, after = (
                json.dumps(one, indent=1, sort_keys=True).splitlines() for one in (theirs[place], mine[place])
            )
            lines += [
                f"    {line[:400]}"
                for line in difflib.unified_diff(before, after, lineterm="", n=1)
                if not line.startswith(("---", "+++", "@@"))
            ]
    return lines


def _by_place(resources: tuple[Any, ...]) -> dict[str, Any]:
    places: dict[str, Any] = {}
    for one in resources:
        name = one["urn"] + (" (to delete)" if one.get("delete") else "")
        while name in places:
            name += " (another)"
        places[name] = one
    return places
