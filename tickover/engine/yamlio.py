"""YAML as the Pulumi CLI reads it, with line numbers, and edits that leave the rest of a file alone.

Owns: the loader (no dates, no ``yes``/``on`` booleans, no base-60 numbers: those stay text), key paths to
lines, the replacement of one entry in a text. Promises: an edit is checked by reading it again. Never:
knows what a key means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2, as far as Go's library follows it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. lines: key path (``config.tickover:services.chat``) to line, from 1.

    duplicates: key paths given twice; the last one counts.
    """

    value: Any
    lines: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()


def parse(text: str) -> Document:
    """Raises yaml.YAMLError for what is no YAML."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    lines: dict[str, int] = {}
    duplicates: list[str] = []
    for path, line in _walk(node, ""):
        if path in lines:
            duplicates.append(path)
        lines[path] = line
    return Document(value, lines, tuple(duplicates))


def _walk(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = f"{path}.{key.value}" if path else str(key.value)
            yield inner, key.start_mark.line + 1
            yield from _walk(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{path}[{index}]", item.start_mark.line + 1
            yield from _walk(item, f"{path}[{index}]")


def dump(value: Any) -> str:
    """value as block YAML, keys in their order."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000)


_ABSENT: Final = object()


def edited(text: str, section: str, key: str, value: Any = _ABSENT) -> tuple[str, bool]:
    """text with section.key set to value (removed if no value is given), and whether all else, comments
    included, is as it was. section ``""``: a key of the document itself."""
    document = parse(text).value or {}
    wanted = _with(document, section, key, value)
    attempt = _spliced(text, section, key, value)
    if attempt is not None and _same(attempt, wanted):
        return attempt, True
    return dump(wanted) if wanted else "", "#" not in text


def _same(text: str, wanted: Any) -> bool:
    try:
        return bool((parse(text).value or {}) == wanted)
    except yaml.YAMLError:
        return False


def _with(document: dict[str, Any], section: str, key: str, value: Any) -> dict[str, Any]:
    """A copy of document, changed."""
    outer = dict(document)
    inner = outer if not section else dict(outer.get(section) or {})
    if value is _ABSENT:
        inner.pop(key, None)
    else:
        inner[key] = value
    if section:
        outer[section] = inner
    return outer


def _spliced(text: str, section: str, key: str, value: Any) -> str | None:
    """The text with only the entry's own lines replaced; None where that is not so simple."""
    root = yaml.compose(text, Loader=_Loader)
    if root is None and not section:
        return text + ("" if value is _ABSENT else dump({key: value}))
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    block = root if not section else next((v for k, v in root.value if k.value == section), None)
    if block is None:
        return _ended(text) + ("" if value is _ABSENT else dump({section: {key: value}}))
    if not isinstance(block, yaml.MappingNode) or block.flow_style or not block.value:
        return None
    lines = text.splitlines(keepends=True)
    column = block.value[0][0].start_mark.column
    fresh = "" if value is _ABSENT else _indented(dump({key: value}), column)
    for name, node in block.value:
        if name.value == key:
            first, last = name.start_mark.line, _last_line(node, lines)
            return "".join(lines[:first]) + fresh + "".join(lines[last + 1 :])
    last = _last_line(block.value[-1][1], lines)
    return _ended("".join(lines[: last + 1])) + fresh + "".join(lines[last + 1 :])


def _last_line(node: yaml.Node, lines: list[str]) -> int:
    """The last line of node itself. The parser ends a block where the next token begins, comments in
    between included; so ask its last leaf."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last, lines)
    end = node.end_mark.line if node.end_mark.column else node.end_mark.line - 1
    end = max(min(end, len(lines) - 1), node.start_mark.line)
    while end > node.start_mark.line and not lines[end].strip():
        end -= 1
    return end


def _indented(text: str, column: int) -> str:
    return "".join(" " * column + line for line in text.splitlines(keepends=True))


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
