"""How strict each policy is: the levels and properties that a pack is configured with.

Owns: reading a policy config file and merging it over what a pack declares. Promises: every mistake of
the file is reported at once, with the file's name and the key path. Never: talks to a pack.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tickover.engine.policyschema import problems_of
from tickover.errors import ConfigError

LEVELS: Final = ("advisory", "mandatory", "remediate", "disabled")
ALL: Final = "all"
_LEVEL_KEY: Final = "enforcementLevel"
_ENVIRONMENTS: Final = "environments"
_CONFIG_FOLDER: Final = "config"


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


def paired_files(packs: Sequence[Path], named: Path | Sequence[Path] | None) -> tuple[PolicyFile | None, ...]:
    """The file of each pack: the first named for the first, and so on; None where none is named."""
    paths = (named,) if isinstance(named, Path) else tuple(named or ())
    if not paths:
        return (None,) * len(packs)
    if len(paths) != len(packs):
        raise ConfigError(
            "bad-policy-config",
            "Policy configs and packs differ in number",
            f"There are {len(packs)} policy packs and {len(paths)} config files, and the first file is for "
            "the first pack, the second for the second.",
            hint="give one --policy-pack-config for each --policy-pack, in the same order",
        )
    return tuple(load_policy_file(path) for path in paths)


def default_policy_config(pack: Path, stack: str) -> Path | None:
    """``<pack>/config/<stack>.json`` if the pack has one: used when no file was named."""
    path = pack / _CONFIG_FOLDER / f"{stack}.json"
    return path if path.is_file() else None


def load_policy_file(path: Path) -> PolicyFile:
    """The settings in path. Raises ConfigError (exit 2) naming all that is wrong with it."""
    try:
        text = path.read_text("utf-8")
        document = json.loads(text) if text.strip() else {}
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
        if policy == _ENVIRONMENTS and isinstance(value, list):
            problems.append(f"{policy}: only Pulumi Cloud resolves environments; this is a file back end")
            continue
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
        properties = {k: s["default"] for k, s in policy.schema.items() if "default" in s}
        for source in reversed(sources):
            properties |= source.properties
        problems += _problems(policy, properties, level != "disabled")
        merged[policy.name] = PolicySetting(level, properties)
    if problems:
        raise _bad(file.name, problems)
    return merged


def _problems(policy: DeclaredPolicy, properties: Mapping[str, Any], is_on: bool) -> list[str]:
    """What is missing matters to a policy that is on; what is wrong is told in any case."""
    missing = [key for key in policy.required if key not in properties] if is_on else []
    found = [f"{policy.name}.{key}: required" for key in missing]
    for key, value in properties.items():
        schema = policy.schema.get(key)
        if schema is None:
            if policy.schema:
                found.append(f"{policy.name}.{key}: no such setting; {_choices(key, sorted(policy.schema))}")
            continue
        found += [f"{policy.name}.{problem}" for problem in problems_of(value, schema, key)]
    return found


def _choices(word: str, known: Iterable[str]) -> str:
    options = list(known)
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(options) or 'none'}"


def _bad(name: str, problems: list[str]) -> ConfigError:
    lines = "\n".join(f"{name}: {p}" for p in problems)
    return ConfigError("bad-policy-config", "Policy config is not valid", lines, address=name)
