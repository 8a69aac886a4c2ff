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
from tickover.engine.goal import Goal
from tickover.engine.packages import PluginSource
from tickover.engine.pendings import PendingCreations
from tickover.engine.plan import Plan
from tickover.engine.project import Project
from tickover.engine.provider import ProviderFactory
from tickover.engine.savedplan import Binding, SavedPlan
from tickover.engine.targeting import Choice
from tickover.errors import Exit


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. providers: in-process packages by name. passphrase: called when a secret is met.

    plugins: makes the source of all other providers. choice: what the operation is limited to.
    saved_plan: the one to hold to; skip_preview: apply without a dry run first. run_program: destroy and
    refresh run the program too, for its hooks and provider configurations.
    """

    project: Project
    stack: str
    backend: FileBackend
    providers: Mapping[str, ProviderFactory]
    on_event: EventSink
    passphrase: Callable[[], str]
    parallel: int = 16
    refresh: bool = False
    policy_packs: tuple[Path, ...] = ()
    policy_config: tuple[Path, ...] = ()
    plugins: Callable[[], PluginSource] | None = None
    choice: Choice = field(default_factory=Choice)
    continue_on_error: bool = False
    skip_preview: bool = False
    run_program: bool = False
    exclude_protected: bool = False
    message: str = ""
    saved_plan: SavedPlan | None = None
    pending: PendingCreations = field(default_factory=PendingCreations)
    canceller: Canceller = field(default_factory=Canceller)


@dataclass(frozen=True, slots=True)
class Outcome:
    """result: succeeded | failed | cancelled. outputs: the stack's, with markers.

    goals, binding: what a plan is saved with.
    """

    plan: Plan
    result: str
    outputs: dict[str, object]
    exit_code: Exit
    diagnostics: tuple[str, ...] = ()
    goals: Mapping[str, Goal] = field(default_factory=dict)
    binding: Binding | None = None
