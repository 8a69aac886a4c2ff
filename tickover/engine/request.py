"""What an operation is asked, and what it answers.

Owns: `Request` and `Outcome`. Promises: plain data. Never: acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickover.engine.backend import FileBackend
from tickover.engine.effects import Canceller
from tickover.engine.events import EventSink
from tickover.engine.plan import Plan
from tickover.engine.project import Project
from tickover.engine.provider import ProviderFactory
from tickover.errors import Exit


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. providers: in-process packages by name. passphrase: called when a secret is met."""

    project: Project
    stack: str
    backend: FileBackend
    providers: Mapping[str, ProviderFactory]
    on_event: EventSink
    passphrase: Callable[[], str]
    parallel: int = 16
    refresh: bool = False
    policy_packs: tuple[Path, ...] = ()
    policy_config: Path | None = None
    canceller: Canceller = field(default_factory=Canceller)


@dataclass(frozen=True, slots=True)
class Outcome:
    """result: succeeded | failed | cancelled. outputs: the stack's, with markers."""

    plan: Plan
    result: str
    outputs: dict[str, object]
    exit_code: Exit
    diagnostics: tuple[str, ...] = ()
