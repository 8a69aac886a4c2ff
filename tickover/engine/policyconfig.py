"""How strict each policy is: the levels and properties that a pack is configured with.

Owns: reading a policy config file and merging it over what a pack declares. Promises: every mistake of
the file is reported at once, with the file's name and the key path. Never: talks to a pack.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tickover.errors import ConfigError

LEVELS: Final = ("advisory", "mandatory", "remediate", "disabled")
ALL: Final = "all"
_LEVEL_KEY: Final = "enforcementLevel"
_CONFIG_FOLDER: Final = "config"

# JSON schema "type" of a policy's property -> is this value one?
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


@dataclass(frozen=True, slots=True)
class PolicySetting:
    """level None: not said, the next weaker source decides."""

    level: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """A policy as its pack declares it. schema: property name -> JSON schema."""

    name: str
    level: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy config file. name: what errors call it; settings: policy name (or ``all``) -> setting."""

    name: str
    settings: Mapping[str, PolicySetting] = field(default_factory=dict)


def default_policy_config(pack: Path, stack: str) -> Path | None:
    """``<pack>/config/<stack>.json`` if the pack has one: used when no file was named."""
    path = pack / _CONFIG_FOLDER / f"{stack}.json"
    return path if path.is_file() else None


def load_policy_file(path: Path) -> PolicyFile:
    """The settings in path. Raises ConfigError (exit 2) naming all that is wrong with it."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(
            "bad-policy-config", "Policy config cannot be read", f"{path.name}: {error}.", address=path.name
        ) from error
    return parse_policy_file(document, path.name)


def parse_policy_file(document: Any, name: str) -> PolicyFile:
    """The settings that a parsed config file holds."""
    if not isinstance(document, dict):
        raise _bad(name, ["the file must be a map from policy name to level or settings"])
    problems: list[str] = []
    settings: dict[str, PolicySetting] = {}
    for policy, value in document.items():
        setting = {_LEVEL_KEY: value} if isinstance(value, str) else value
        if not isinstance(setting, dict):
            problems.append(f"{policy}: must be a level or a map")
            continue
        level = setting.get(_LEVEL_KEY)
        if level is not None and level not in LEVELS:
            problems.append(f"{policy}: {level!r} is no level; {_choices(str(level), LEVELS)}")
        settings[policy] = PolicySetting(level, {k: v for k, v in setting.items() if k != _LEVEL_KEY})
    if problems:
        raise _bad(name, problems)
    return PolicyFile(name, settings)


def check_names(file: PolicyFile, known: Iterable[str]) -> None:
    """Raise ConfigError if the file sets a policy that no pack has."""
    names = sorted(set(known))
    unknown = [n for n in file.settings if n != ALL and n not in names]
    if unknown:
        raise _bad(file.name, [f"{n}: no pack has this policy; {_choices(n, names)}" for n in unknown])


def effective(
    policies: Iterable[DeclaredPolicy], initial: Mapping[str, PolicySetting], file: PolicyFile
) -> dict[str, PolicySetting]:
    """Level and properties of every policy: the file, its ``all``, the pack's initial config, the policy.

    Raises ConfigError if a property does not fit the policy's schema.
    """
    problems: list[str] = []
    merged: dict[str, PolicySetting] = {}
    for policy in policies:
        said = [file.settings.get(policy.name), file.settings.get(ALL)]
        said += [initial.get(policy.name), initial.get(ALL)]
        sources = [s for s in said if s is not None]
        level = next((s.level for s in sources if s.level is not None), policy.level)
        properties: dict[str, Any] = {}
        for source in reversed(sources):
            properties |= source.properties
        if level != "disabled":
            problems += _problems(policy, properties)
        merged[policy.name] = PolicySetting(level, properties)
    if problems:
        raise _bad(file.name, problems)
    return merged


def _problems(policy: DeclaredPolicy, properties: Mapping[str, Any]) -> list[str]:
    found = [f"{policy.name}.{key}: required" for key in policy.required if key not in properties]
    for key, value in properties.items():
        schema = policy.schema.get(key)
        if schema is None:
            if policy.schema:
                found.append(f"{policy.name}.{key}: no such setting; {_choices(key, sorted(policy.schema))}")
            continue
        problem = next((text for says, text in _broken(value, schema) if says), "")
        if problem:
            found.append(f"{policy.name}.{key}: {problem}")
    return found


def _broken(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """(is it broken, what must be) for the few JSON schema words that policies use, types first."""
    kind = str(schema.get("type", ""))
    yield kind in _TYPES and not _TYPES[kind](value), f"must be of type {kind}"
    choices = schema.get("enum", [value])
    yield value not in choices, f"must be one of {', '.join(map(str, choices))}"
    pattern = str(schema.get("pattern", ""))
    yield isinstance(value, str) and not re.search(pattern, value), f"must match {pattern}"
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        yield value < low, f"must be at least {low:g}"
        yield value > high, f"must be at most {high:g}"


def _choices(word: str, known: Iterable[str]) -> str:
    options = list(known)
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(options) or 'none'}"


def _bad(name: str, problems: list[str]) -> ConfigError:
    lines = "\n".join(f"{name}: {p}" for p in problems)
    return ConfigError("bad-policy-config", "Policy config is not valid", lines, address=name)
