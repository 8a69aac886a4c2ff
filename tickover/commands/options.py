"""The flags of preview, up, destroy, refresh and import.

Owns: their names and defaults. Promises: a value, set once by the command line. Never: decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """The flags that the operations share."""

    stack: str | None = None
    yes: bool = False
    as_json: bool = False
    json_into: Path | None = None
    refresh: bool = False
    expect_no_changes: bool = False
    skip_preview: bool = False
    targets: tuple[str, ...] = ()
    target_dependents: bool = False
    excludes: tuple[str, ...] = ()
    exclude_dependents: bool = False
    replaces: tuple[str, ...] = ()
    target_replaces: tuple[str, ...] = ()
    continue_on_error: bool = False
    policy_packs: tuple[Path, ...] = ()
    policy_configs: tuple[Path, ...] = ()
    save_plan: Path | None = None
    plan: Path | None = None
    parallel: int = 16
    details: bool = False
    show_secrets: bool = False
    preview_only: bool = False
    run_program: bool = False
    exclude_protected: bool = False
    remove: bool = False
    clear_pending_creates: bool = False
    skip_pending_creates: bool = False
    import_pending_creates: tuple[str, ...] = ()
    message: str = ""
    non_interactive: bool = False
