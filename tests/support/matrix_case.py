"""Reads tests/programs/<case>/case.json.

Owns: the format that tests/programs/README.md describes. Promises: an unknown key or op is an error that
names the case. Never: runs anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.real_pulumi import ENGINES, ROOT, STACK

PROGRAMS: Final = ROOT / "tests/programs"
OPERATIONS: Final = ("up", "preview", "refresh", "destroy", "import")
COMMANDS: Final = ("state", "config", "stack", "cancel")
SCRIPT: Final = "script"
COMPARED: Final = ("exit", "not said", "counts", "pending operations", "resources")
_CASE_KEYS: Final = frozenset(
    {"description", "config", "secret_config", "steps", "testbed", "project", "env", "differs", "slow"}
)
_STEP_KEYS: Final = frozenset(
    {"op", "program", "args", "fails", "stack", "env", "says", "differs", "timeout", "only", "why"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a case. differs: what is known to differ, and why."""

    op: str
    program: str | None = None
    args: tuple[str, ...] = ()
    fails: bool = False
    stack: str = STACK
    env: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    differs: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    only: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A test program and what is done with it."""

    name: str
    folder: Path
    description: str
    steps: tuple[Step, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    secret_config: Mapping[str, Any] = field(default_factory=dict)
    testbed: bool = True
    project: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)


def load(name: str) -> Case:
    """One case. Raises ValueError for what the format does not know."""
    folder = PROGRAMS / name
    if not (folder / "case.json").exists():
        raise ValueError(f"There is no {folder.relative_to(ROOT)}/case.json.")
    raw = json.loads((folder / "case.json").read_text())
    _known(name, raw, _CASE_KEYS)
    steps = tuple(_step(name, number, one) for number, one in enumerate(raw["steps"], 1))
    for step in steps:
        if step.program is not None and not (folder / step.program).is_dir():
            raise ValueError(f"{name}: there is no folder {step.program}.")
    rest = {key: raw[key] for key in _CASE_KEYS - {"steps", "slow"} if key in raw}
    return Case(name, folder, steps=steps, **{"description": "", **rest})


def names() -> list[str]:
    """All cases."""
    return sorted(path.parent.name for path in PROGRAMS.glob("*/case.json"))


def _step(case: str, number: int, raw: dict[str, Any]) -> Step:
    where = f"{case}, step {number}"
    _known(where, raw, _STEP_KEYS)
    known = (*OPERATIONS, *COMMANDS, SCRIPT)
    if raw["op"] not in known:
        raise ValueError(f"{where}: op is {raw['op']!r}; it may be {', '.join(known)}.")
    if not set(raw.get("differs", {})) <= set(COMPARED):
        raise ValueError(f"{where}: differs may name {', '.join(COMPARED)}.")
    if raw.get("only", "") not in ("", *ENGINES):
        raise ValueError(f"{where}: only may be {', '.join(ENGINES)}.")
    kept = {key: value for key, value in raw.items() if key != "why"}
    return Step(**kept | {"args": tuple(raw.get("args", ())), "says": tuple(raw.get("says", ()))})


def _known(where: str, raw: Mapping[str, Any], keys: frozenset[str]) -> None:
    unknown = sorted(raw.keys() - keys)
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)} is no key of a case; see tests/programs/README.md.")
