"""What differs between two property maps, part by part.

Owns: the comparison that people read. Promises: only what changed; texts line by line, JSON texts and
archives by their parts; a secret's change is told, its value is not. Never: decides whether something
changed for the engine, draws.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.engine.structdiff import same
from tickover.engine.values import Archive, Asset, Secret, Unknown, reveal
from tickover.engine.wire import as_secret
from tickover.views.values import Hidden, join, own_properties, shown

_MISSING: Final = object()
_CONTEXT_LINES: Final = 1
_MOST_LINES: Final = 3000  # beyond, a comparison by lines costs too much
_INLINE: Final = 60
CHANGED_SECRET: Final = "the secret changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One part that differs. sign: ``+``, ``-`` or ``~``. before, after: texts, empty where there is none.

    lines: of a text with several lines, each with its sign (`` `` for context). note: what else is to say.
    """

    sign: str
    path: str
    before: str = ""
    after: str = ""
    note: str = ""
    lines: tuple[tuple[str, str], ...] = ()


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], *, show_secrets: bool = False
) -> tuple[Change, ...]:
    """What differs between two property maps, leaf by leaf, sorted by path."""
    old, new = own_properties(before), own_properties(after)
    if show_secrets:
        old, new = reveal(old), reveal(new)
    return tuple(_changes(old, new, ""))


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    match before, after:
        case _ if before is _MISSING:
            yield from _one_sided(after, "+", path)
        case _ if after is _MISSING:
            yield from _one_sided(before, "-", path)
        case (Secret(), _) | (_, Secret()):
            yield from _secrets(before, after, path)
        case (Hidden(), _) | (_, Hidden()):
            if _unhidden(before) != _unhidden(after):
                yield Change("~", path, note="its value is hidden")
        case dict(), dict():
            for key in sorted({*before, *after}):
                yield from _changes(before.get(key, _MISSING), after.get(key, _MISSING), join(path, key))
        case list(), list():
            yield from _lists(before, after, path)
        case Archive(), Archive() if before.assets is not None and after.assets is not None:
            yield from _changes(dict(before.assets), dict(after.assets), path)
        case Asset(), Asset() if before.text is not None and after.text is not None:
            yield from _texts(before.text, after.text, path)
        case str(), str():
            yield from _texts(before, after, path)
        case Unknown(), Unknown():
            return
        case _:
            if not same(before, after):
                yield Change("~", path, shown(before), shown(after))


def masked_alike(before: Any, after: Any) -> tuple[Any, Any]:
    """Both values, with a secret wherever one of them has one: neither tells the other's."""
    match before, after:
        case (Secret(), _) | (_, Secret()):
            return as_secret(before), as_secret(after)
        case dict(), dict():
            pairs = {k: masked_alike(before[k], after[k]) for k in before.keys() & after.keys()}
            old = {k: pairs[k][0] if k in pairs else v for k, v in before.items()}
            return old, {k: pairs[k][1] if k in pairs else v for k, v in after.items()}
        case list(), list():
            both = [masked_alike(a, b) for a, b in zip(before, after, strict=False)]
            old_items, new_items = [a for a, _ in both], [b for _, b in both]
            return old_items + before[len(both) :], new_items + after[len(both) :]
        case _:
            return before, after


def _unhidden(value: Any) -> Any:
    return value.value if isinstance(value, Hidden) else value


def _secrets(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, Secret) and isinstance(after, Secret):
        if isinstance(after.value, Unknown) and not isinstance(before.value, Unknown):
            yield Change("~", path, shown(before), shown(after), "the secret may change")
        elif next(_changes({"": before.value}, {"": after.value}, ""), None) is not None:
            yield Change("~", path, shown(before), shown(after), CHANGED_SECRET)
    else:
        # The side in clear is not shown: it may well be the value that is, or was, the secret.
        note = "no longer secret" if isinstance(before, Secret) else "now secret"
        yield Change("~", path, note=note)


def _one_sided(value: Any, sign: str, path: str) -> Iterator[Change]:
    text = shown(value)
    if isinstance(value, dict | list) and value and len(text) > _INLINE:
        items = sorted(value.items()) if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _one_sided(item, sign, join(path, key) if isinstance(key, str) else f"{path}[{key}]")
        return
    content = value.text if isinstance(value, Asset) else value
    if isinstance(content, str) and "\n" in content.rstrip("\n"):
        yield Change(sign, path, lines=tuple((sign, line) for line in content.splitlines()))
        return
    yield Change(sign, path, "", text) if sign == "+" else Change(sign, path, text)


def _lists(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    """Equal items at both ends are left out, so that one more in front is one change."""
    start = _equal_ends(before, after)
    end = _equal_ends(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index in range(max(len(old), len(new))):
        yield from _changes(
            old[index] if index < len(old) else _MISSING,
            new[index] if index < len(new) else _MISSING,
            f"{path}[{start + index}]",
        )


def _equal_ends(before: list[Any], after: list[Any]) -> int:
    count = 0
    for old, new in zip(before, after, strict=False):
        if next(_changes(old, new, ""), None) is not None:
            break
        count += 1
    return count


def _texts(before: str, after: str, path: str) -> Iterator[Change]:
    if before == after:
        return
    parsed = _as_json(before), _as_json(after)
    if parsed[0] is not _MISSING and parsed[1] is not _MISSING:
        found = tuple(_changes(*parsed, f"{path}(json)"))
        yield from found or (Change("~", path, note="only its white space or order changed"),)
        return
    old, new = before.splitlines(), after.splitlines()
    if len(old) <= 1 and len(new) <= 1:
        texts = shown(before), shown(after)
        at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
        at = min(len(before), len(after)) if at is None else at
        yield Change("~", path, *texts, f"differs from character {at + 1}" if texts[0] == texts[1] else "")
    elif max(len(old), len(new)) > _MOST_LINES:
        yield Change("~", path, f"{len(old)} lines", f"{len(new)} lines")
    else:
        yield Change(
            "~", path, lines=_line_changes(old, new), note="" if old != new else "only its line ends"
        )


def _line_changes(old: list[str], new: list[str]) -> tuple[tuple[str, str], ...]:
    found = difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm="")
    lines: list[tuple[str, str]] = []
    for line in list(found)[2:]:
        if line.startswith("@@"):
            if lines:
                lines.append(("@", ""))
        else:
            lines.append((line[0], line[1:]))
    return tuple(lines)


def _as_json(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return _MISSING
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _MISSING
