"""The typed ``config:`` block of Pulumi.yaml, and the check of a stack's values against it.

Owns: declarations, defaults, and the list of everything that is wrong with a stack's config. Promises:
all mistakes at once, each with its key path, a suggestion where a name is near, the value of a secret
never repeated. Never: reads files.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import ConfigError

# Namespaces that belong to the tools; a project need not declare them.
RESERVED_NAMESPACES: Final = frozenset({"pulumi"})


@dataclass(frozen=True, slots=True)
class ConfigType:
    """kind: string | integer | number | boolean | array | object. items: of an array; None: anything."""

    kind: str
    items: ConfigType | None = None

    def __str__(self) -> str:
        return f"{self.kind} of {self.items}" if self.items else self.kind


@dataclass(frozen=True, slots=True)
class ConfigDeclaration:
    """One entry of ``config:``. type None: any. default None: the stack must give a value if required."""

    key: str  # full: ``namespace:name``
    type: ConfigType | None = None
    default: Any = None
    has_default: bool = False
    value: Any = None  # a project-wide value, for every stack that says nothing
    description: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class ConfigMistake:
    """path: ``tickover:services.chat.pool``; message: a sentence; suggestion: a name to use, or empty."""

    path: str
    message: str
    suggestion: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        hint = f" Did you mean `{self.suggestion}`?" if self.suggestion else ""
        return f"{where}{self.path}: {self.message}{hint}"


def parse_declarations(block: Any, project: str, file: str) -> dict[str, ConfigDeclaration]:
    """The declarations in a ``config:`` block; keys without a namespace get the project's."""
    if not isinstance(block, Mapping):
        raise _bad(file, "config", "must be a map")
    found: dict[str, ConfigDeclaration] = {}
    for raw, entry in block.items():
        key = qualify_key(str(raw), project)
        found[key] = _declaration(key, entry, file)
    return found


def qualify_key(key: str, project: str) -> str:
    """``name`` -> ``project:name``; the old form ``project:config:name`` -> ``project:name``."""
    parts = key.split(":")
    if len(parts) == 3 and parts[1] == "config":
        return f"{parts[0]}:{parts[2]}"
    return key if ":" in key else f"{project}:{key}"


def _declaration(key: str, entry: Any, file: str) -> ConfigDeclaration:
    if not isinstance(entry, Mapping):  # the short form gives a value for every stack
        return ConfigDeclaration(key=key, value=entry)
    type_ = _type(entry["type"], entry.get("items"), file, key) if "type" in entry else None
    has_default = "default" in entry
    default = entry.get("default")
    if has_default and type_ is not None and (mistakes := list(check_type(default, type_, key))):
        raise _bad(file, f"config.{key}.default", mistakes[0].message)
    return ConfigDeclaration(
        key=key,
        type=type_,
        default=default,
        has_default=has_default,
        value=entry.get("value"),
        description=str(entry.get("description") or ""),
        secret=bool(entry.get("secret", False)),
    )


def _type(name: Any, items: Any, file: str, key: str) -> ConfigType:
    if name not in _ACCEPTS:
        raise _bad(file, f"config.{key}.type", f"must be one of {', '.join(_ACCEPTS)}")
    if name == "array" and isinstance(items, Mapping) and "type" in items:
        return ConfigType("array", _type(items["type"], items.get("items"), file, key))
    return ConfigType(str(name))


# --- values -------------------------------------------------------------------------------------


def _is_integer(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or _parses(int, value)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or _parses(float, value)


def _parses(convert: Callable[[str], object], value: Any) -> bool:
    """A number written as text counts: the CLI writes scalars as text."""
    if not isinstance(value, str):
        return False
    try:
        convert(value)
    except ValueError:
        return False
    return True


_ACCEPTS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda v: isinstance(v, str | int | float | bool),
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda v: isinstance(v, bool) or v in ("true", "false"),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def check_type(value: Any, type_: ConfigType, path: str) -> Iterable[ConfigMistake]:
    """Every place in value that is not of type_."""
    bare = value.value if isinstance(value, Secret) else value
    if bare is UNKNOWN:  # still encrypted
        return
    if not _ACCEPTS[type_.kind](bare):
        shown = "" if isinstance(value, Secret) else f", not {_name(bare)}"
        yield ConfigMistake(path, f"This must be {_article(str(type_))}{shown}.")
    elif type_.items is not None and isinstance(bare, list):
        for index, item in enumerate(bare):
            yield from check_type(item, type_.items, f"{path}[{index}]")


def check(
    values: Mapping[str, Any],
    declarations: Mapping[str, ConfigDeclaration],
    project: str,
    lines: Mapping[str, int] | None = None,
) -> tuple[ConfigMistake, ...]:
    """Everything wrong with a stack's values, sorted by key path. lines: key -> line of the file."""
    found: list[ConfigMistake] = []
    numbers = lines or {}
    own = {k for k in declarations if k.startswith(f"{project}:")}
    namespaces = sorted({project} | {k.split(":")[0] for k in declarations})
    for key, value in values.items():
        declared = declarations.get(key)
        line = numbers.get(key, 0)
        if declared is None:
            found.extend(_undeclared(key, own, project, namespaces, line))
            continue
        if declared.type is not None:
            found.extend(
                ConfigMistake(m.path, m.message, m.suggestion, line)
                for m in check_type(value, declared.type, key)
            )
        if declared.secret and not _is_secret(value):
            message = "This must be a secret; it is written in clear."
            found.append(ConfigMistake(key, message, f"tickover config set --secret {key}", line))
    for key, declared in declarations.items():
        missing = declared.type is not None and not declared.has_default and declared.value is None
        if missing and key not in values:
            found.append(
                ConfigMistake(key, f"This {declared.type} has no value in the stack and no default.")
            )
    return tuple(sorted(found, key=lambda m: (m.path, m.message)))


def _is_secret(value: Any) -> bool:
    match value:
        case Secret():
            return True
        case list():
            return any(_is_secret(v) for v in value)
        case dict():
            return any(_is_secret(v) for v in value.values())
        case _:
            return False


def _undeclared(
    key: str, own: set[str], project: str, namespaces: list[str], line: int
) -> Iterable[ConfigMistake]:
    namespace, _, name = key.partition(":")
    if namespace in RESERVED_NAMESPACES or (namespace == project and not own):
        return
    if namespace == project:
        yield ConfigMistake(key, "The project declares no such key.", nearest(key, own), line)
        return
    near = nearest(namespace, [n for n in namespaces if n != namespace])
    renamed = f"{near}:{name}"
    if near and (renamed in own or nearest(renamed, own)):  # not a provider's namespace, but a slip
        suggestion = renamed if renamed in own else nearest(renamed, own)
        yield ConfigMistake(key, "The project declares no such key.", suggestion, line)


def nearest(name: str, names: Iterable[str]) -> str:
    """The name most like this one, or empty."""
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)), "")


def with_defaults(values: Mapping[str, Any], declarations: Mapping[str, ConfigDeclaration]) -> dict[str, Any]:
    """The stack's values, and the project's for keys that the stack leaves out."""
    merged = dict(values)
    for key, declared in declarations.items():
        if key in merged:
            continue
        value = declared.value if declared.value is not None else declared.default
        if value is not None:
            merged[key] = Secret(value) if declared.secret else value
    return merged


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The mistakes of one file, as one error."""

    file: str
    items: tuple[ConfigMistake, ...] = field(default_factory=tuple)

    def as_error(self) -> ConfigError:
        """Exit 2; the detail lists every mistake on its own line, the address is the first key path."""
        lines = "\n".join(f"  {item}" for item in self.items)
        count = "1 mistake" if len(self.items) == 1 else f"{len(self.items)} mistakes"
        return ConfigError(
            "bad-config",
            "Stack config is not valid",
            f"{self.file} has {count}:\n{lines}",
            address=self.items[0].path if self.items else self.file,
        )


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


_NAMES: Final[dict[type, str]] = {
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a map",
    type(None): "empty",
}


def _name(value: Any) -> str:
    names = {
        str: "text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a map",
    }
    return names.get(type(value), "empty" if value is None else type(value).__name__)


def _bad(file: str, path: str, what: str) -> ConfigError:
    return ConfigError(
        "bad-project", "Project file is not valid", f"{file}: `{path}` {what}.", address=f"{file}:{path}"
    )
