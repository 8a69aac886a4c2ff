"""What an operation is put together from: providers, plugins, saved plans.

Owns: the composition root of engine and providers. Promises: one place that knows which packages are built
in. Never: runs an operation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tickover.commands.session import Session
from tickover.errors import ConfigError

if TYPE_CHECKING:
    from tickover.commands.options import Options
    from tickover.engine.operations import Outcome
    from tickover.engine.packages import PluginSource
    from tickover.engine.provider import ProviderFactory
    from tickover.engine.savedplan import SavedPlan


def sources(session: Session) -> tuple[Mapping[str, ProviderFactory], Callable[[], PluginSource]]:
    """Providers of this process by package, and what finds all others."""
    from tickover.engine.plugins.source import Plugins
    from tickover.provider.docker import factory as docker
    from tickover.provider.provider import factory

    project = session.project

    def plugins() -> PluginSource:
        return Plugins(
            project.root,
            project.plugins,
            session.env,
            Path(sys.executable),
            project=project.name,
            runtime_options=project.runtime_options,
            program=project.main,
        )

    return {"tickover": factory(session.home), "docker": docker}, plugins


def saved_plan(session: Session, stack: str, path: Path | None) -> SavedPlan | None:
    """The plan in a file. Raises ConfigError, TickoverError."""
    from tickover.engine.savedplan import from_bytes

    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "no-such-path", "Plan cannot be read", f"{path}: {error.strerror}.", str(path)
        ) from error
    return from_bytes(data, session.keyring(stack).for_provider, str(path))


def keep_plan(session: Session, stack: str, outcome: Outcome, options: Options) -> None:
    """Write the plan of a preview."""
    from tickover.engine.files import write_atomic
    from tickover.engine.savedplan import saved_plan as made
    from tickover.engine.savedplan import to_bytes

    path = options.save_plan
    assert outcome.binding is not None and path is not None
    flags = {
        "targets": [*options.targets, *options.target_replaces],
        "excludes": list(options.excludes),
        "replaces": [*options.replaces, *options.target_replaces],
        "refresh": options.refresh,
        "policy_packs": [p.name for p in options.policy_packs],
    }
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    plan = made(outcome.plan, outcome.goals, outcome.binding, created=created, options=flags)
    write_atomic(path, to_bytes(plan, session.keyring(stack).for_provider(None)), mode=0o600)
    session.note(f"The plan is kept in {path}. Apply it with: tickover up -s {stack} --plan {path}")
