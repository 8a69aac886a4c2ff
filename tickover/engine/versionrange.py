"""Ranges of versions, as programs and projects require a level of Pulumi.

Owns: the level this engine stands for, and the meaning of a range such as ``>=3.1.0 <4.0.0 || 5.0.0``.
Promises: pure. Never: looks up what is installed.
"""

from __future__ import annotations

import re
from typing import Final

from semver import Version

from tickover.errors import ConfigError

# The Pulumi whose behaviour the engine follows.
LEVEL: Final = "3.259.0"
_TERM: Final = re.compile(
    r"(>=|<=|!=|==|=|>|<|!)?\s*v?(\d+(?:\.\d+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)"
)
_OPERATORS: Final = {"": "==", "=": "==", "!": "!="}


def in_range(version: str, wanted: str) -> bool:
    """True if version lies in wanted: terms that all hold, alternatives apart by ``||``."""
    return any(_holds(version, part) for part in wanted.split("||"))


def _holds(version: str, terms: str) -> bool:
    found = list(_TERM.finditer(terms))
    if not found or _TERM.sub("", terms).strip():
        raise ConfigError("bad-range", "Not a version range", f"{terms.strip()!r} is not understood.")
    subject = Version.parse(version)
    for term in found:
        operator = _OPERATORS.get(term[1] or "", term[1] or "==")
        other = Version.parse(term[2], optional_minor_and_patch=True)
        if not subject.match(f"{operator}{other}"):
            return False
    return True
