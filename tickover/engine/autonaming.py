"""The names that the engine proposes for objects without one: `pulumi:autonaming` of the stack config.

Owns: the section's form and what it says of each resource. Promises: pure; the same seed draws the same name;
a section that does not say what it means is refused as a whole. Never: sets an input: providers do.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tickover.engine.configpath import get_at, parse_path
from tickover.engine.provider import NamingMode, ProposedName
from tickover.engine.urn import parse_urn
from tickover.errors import ConfigError

KEY: Final = "pulumi:autonaming"

_MODES: Final = {"verbatim": NamingMode.ENFORCE, "disabled": NamingMode.DISABLE}
_ALPHABETS: Final = {
    "hex": "0123456789abcdef",
    "alphanum": string.ascii_lowercase + string.digits,
    "string": string.ascii_lowercase,
    "num": string.digits,
}
_DRAWN: Final = re.compile(
    r"\$\{(?:(?P<kind>hex|alphanum|string|num)\((?P<length>\d{1,3})\)|(?P<uuid>uuid))\}"
)
_CONFIG: Final = re.compile(r"\$\{config\.([^}]+)\}")


class _Rule(BaseModel):
    """How to name: a mode, or a pattern. All None: as the level above says."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Literal["default", "verbatim", "disabled"] | None = None
    pattern: Annotated[str, Field(min_length=1)] | None = None
    enforce: bool | None = None

    def problem(self) -> str | None:
        if self.mode is not None and (self.pattern is not None or self.enforce is not None):
            return "has `mode` and also `pattern` or `enforce`"
        if self.enforce is not None and self.pattern is None:
            return "has `enforce` without a `pattern`"
        return None

    @property
    def is_empty(self) -> bool:
        return self.mode is None and self.pattern is None


class _Provider(_Rule):
    resources: dict[str, _Rule] = Field(default_factory=dict)


class _Section(_Rule):
    providers: dict[str, _Provider] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Autonaming:
    """The rules of a stack. packages, types: rules for what they name; default: for all else."""

    default: _Rule = field(default_factory=_Rule)
    packages: Mapping[str, _Rule] = field(default_factory=dict)
    types: Mapping[str, _Rule] = field(default_factory=dict)

    def proposal(self, urn: str, seed: bytes) -> ProposedName | None:
        """What the provider is told; None: nothing, it names as it always does. seed: what is drawn from."""
        rule, is_specific = self._rule(urn)
        if rule.pattern is not None:
            mode = NamingMode.ENFORCE if rule.enforce else NamingMode.PROPOSE
            name = _drawn(rule.pattern.replace("${name}", parse_urn(urn).name), seed)
            return ProposedName(name, mode, bool(rule.enforce) or is_specific)
        if rule.mode not in _MODES:
            return None
        mode = _MODES[rule.mode]
        return ProposedName(parse_urn(urn).name if mode is NamingMode.ENFORCE else "", mode, is_specific)

    def deletes_first(self, urn: str) -> bool:
        """True if a replacement would have the name of what it replaces."""
        rule, _ = self._rule(urn)
        return rule.mode in _MODES or (rule.pattern is not None and not _DRAWN.search(rule.pattern))

    def _rule(self, urn: str) -> tuple[_Rule, bool]:
        type_ = parse_urn(urn).type
        found = self.types.get(type_) or self.packages.get(type_.partition(":")[0])
        return (found, True) if found is not None else (self.default, False)


def read(config: Mapping[str, str], organization: str, project: str, stack: str) -> Autonaming:
    """The rules in config: full key → text. Raises ConfigError ``bad-autonaming``."""
    text = config.get(KEY)
    if text is None:
        return Autonaming()
    try:
        section = _Section.model_validate(_decoded(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise _bad(f"`{where}`: {first['msg']}" if where else first["msg"]) from error

    def finished(where: str, rule: _Rule) -> _Rule:
        problem = rule.problem()
        if problem:
            raise _bad(f"{where} {problem}.")
        if rule.pattern is None:
            return rule
        words = {"organization": organization, "project": project, "stack": stack}
        return rule.model_copy(update={"pattern": _filled(rule.pattern, words, config, project)})

    packages: dict[str, _Rule] = {}
    types: dict[str, _Rule] = {}
    default = finished("It", section)
    for package, provider in section.providers.items():
        own = finished(f"The provider {package}", provider)
        packages[package] = default if own.is_empty else own
        for type_, rule in provider.resources.items():
            if rule.is_empty:
                raise _bad(f"The resource type {type_} has neither a `mode` nor a `pattern`.")
            if type_.partition(":")[0] == package:
                types[type_] = finished(f"The resource type {type_}", rule)
    return Autonaming(default, packages, types)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # the model says that it is not a map


def _filled(pattern: str, words: Mapping[str, str], config: Mapping[str, str], project: str) -> str:
    """pattern with what is the same for all resources of the stack put in."""

    def looked_up(match: re.Match[str]) -> str:
        name, *rest = parse_path(match[1])
        try:
            value = config[f"{project}:{name}"]
            return str(get_at(json.loads(value), rest)) if rest else value
        except (LookupError, ValueError) as error:
            raise _bad(f"{match[0]} in a pattern: the stack config has no {project}:{match[1]}.") from error

    for word, value in words.items():
        pattern = pattern.replace(f"${{{word}}}", value)
    return _CONFIG.sub(looked_up, pattern)


def _drawn(pattern: str, seed: bytes) -> str:
    source = random.Random(hashlib.sha256(seed).digest()) if seed else random.SystemRandom()

    def draw(match: re.Match[str]) -> str:
        if match["uuid"]:
            return str(uuid.UUID(bytes=source.randbytes(16), version=4))
        return "".join(source.choices(_ALPHABETS[match["kind"]], k=int(match["length"])))

    return _DRAWN.sub(draw, pattern)


def _bad(problem: str) -> ConfigError:
    return ConfigError(
        "bad-autonaming",
        "Autonaming config not usable",
        f"{KEY} in the stack config: {problem}",
        hint=f"For example: tickover config set --path '{KEY}.pattern' '${{name}}-${{hex(6)}}'",
    )
