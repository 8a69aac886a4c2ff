"""Rewriting a request's path before the function sees it, by FC's rewriteConfig.

Owns: the rules of one route, compiled. Promises: a rewrite is a function of (rules, target) whose time grows
only with the length of the path, whatever the pattern (RE2); the query stays. Never: changes host or scheme.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import re2

MAX_PATTERN_BYTES: Final = 1024
MAX_RULES: Final = 100
_PATTERN_MEMORY_BYTES: Final = 1024 * 1024  # of one compiled pattern; RE2 refuses a larger one
_REFERENCE: Final = re.compile(r"\$(?:(\d{1,3})|\{(\d{1,3})\})")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*")


class RewriteError(ValueError):
    """A rule that this host cannot apply."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    compiled: Any
    parts: tuple[str | int, ...]  # text, and the groups between it

    def apply(self, path: str) -> str | None:
        found = self.compiled.search(path)
        if found is None:
            return None
        return "".join(part if isinstance(part, str) else found.group(part) or "" for part in self.parts)


@dataclass(frozen=True, slots=True)
class Rewrites:
    """The rules of a route: equal ones first, then wildcards, then regular expressions, each in its order."""

    equal: Mapping[str, str]
    patterns: tuple[_Pattern, ...]

    def apply(self, target: str) -> str:
        """The target that the function gets; the query of the request follows one of the replacement."""
        path, _, query = target.partition("?")
        new = self._path(path)
        if new is None:
            return target
        new = new if new.startswith("/") else "/" + new
        if not query:
            return new
        return f"{new}{'&' if '?' in new else '?'}{query}"

    def _path(self, path: str) -> str | None:
        equal = self.equal.get(path)
        if equal is not None:
            return equal
        return next((new for pattern in self.patterns if (new := pattern.apply(path)) is not None), None)


def compile_rewrites(config: Mapping[str, Any] | None) -> Rewrites | None:
    """The rules of a rewriteConfig, None without any. Raises RewriteError."""
    if not config:
        return None
    equal = {
        match: "".join(map(str, _parts(where, replacement, None)))
        for where, match, replacement in _rules(config, "equalRules")
    }
    patterns = [
        _compiled(where, _wildcard(match), replacement)
        for where, match, replacement in _rules(config, "wildcardRules")
    ]
    patterns += [_compiled(*rule) for rule in _rules(config, "regexRules")]
    return Rewrites(equal, tuple(patterns)) if equal or patterns else None


def _rules(config: Mapping[str, Any], kind: str) -> list[tuple[str, str, str]]:
    rules = config.get(kind) or ()
    if len(rules) > MAX_RULES:
        raise RewriteError(f"{kind}: {len(rules)} rules, {MAX_RULES} at most")
    return [
        (f"{kind}[{index}]", str(rule.get("match") or ""), str(rule.get("replacement") or ""))
        for index, rule in enumerate(rules)
    ]


def _wildcard(match: str) -> str:
    """``*`` is any text, ``^`` at the front the beginning of the path, all else itself."""
    start, rest = ("^", match[1:]) if match.startswith("^") else ("", match)
    return start + "(.*)".join(re2.escape(text) for text in rest.split("*"))


def _compiled(where: str, pattern: str, replacement: str) -> _Pattern:
    if len(pattern.encode()) > 2 * MAX_PATTERN_BYTES:
        raise RewriteError(f"{where}.match: longer than {MAX_PATTERN_BYTES} bytes")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as err:
        why = err.args[0] if err.args else err
        text = why.decode("utf-8", errors="replace") if isinstance(why, bytes) else str(why)
        raise RewriteError(f"{where}.match: not a regular expression in RE2's syntax: {text}") from err
    return _Pattern(compiled, _parts(where, replacement, compiled.groups))


def _parts(where: str, replacement: str, groups: int | None) -> tuple[str | int, ...]:
    """A replacement in pieces; groups: how many it may refer to, None where ``$`` means itself."""
    if not _PRINTABLE.fullmatch(replacement):
        raise RewriteError(f"{where}.replacement: must be printable ASCII without blanks")
    if not replacement.startswith(("/", "$")):
        raise RewriteError(f"{where}.replacement: must start with / (or with a group such as $1)")
    if groups is None:
        return (replacement,)
    parts: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(replacement):
        number = int(found[1] or found[2])
        if number > groups:
            raise RewriteError(f"{where}.replacement: ${number} is not among the {groups} groups of match")
        parts += [replacement[end : found.start()], number]
        end = found.end()
    return (*parts, replacement[end:])
