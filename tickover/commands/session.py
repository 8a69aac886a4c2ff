"""What every command needs to know: project, back end, stack, terminal.

Owns: where the chosen stack comes from, and the command's output streams. Promises: a stack is chosen by
``--stack``, PULUMI_STACK, ``stack select``, or because it is the only one, in this order. Never: changes
a state.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.errors import ConfigError
from tickover.paths import PROJECT_FILES, data_home, project_root
from tickover.views.terminal import Color, Look, for_stream

if TYPE_CHECKING:  # these cost start-up time, and not every command needs them
    from tickover.engine.backend import FileBackend
    from tickover.engine.project import Project
    from tickover.engine.secrets import Keyring


@dataclass(eq=False)
class Session:
    """One run of the command line. Everything is looked up when first asked for."""

    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path = field(default_factory=Path.cwd)
    color: Color = Color.AUTO

    @cached_property
    def root(self) -> Path:
        """The project's folder."""
        return project_root(self.cwd)

    @cached_property
    def home(self) -> Path:
        """The data home."""
        return data_home(self.root)

    @cached_property
    def project(self) -> Project:
        from tickover.engine.project import load_project

        return load_project(self.root)

    @cached_property
    def backend(self) -> FileBackend:
        from tickover.engine.backend import open_backend

        return open_backend(self.project, self.env)

    @cached_property
    def look(self) -> Look:
        """How text on standard output may look."""
        return for_stream(sys.stdout, self.color)

    def write(self, text: str) -> None:
        """Text on standard output, at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, *lines: str) -> None:
        """Lines on standard output."""
        self.write("".join(f"{line}\n" for line in lines))

    def note(self, *lines: str) -> None:
        """Lines for a person, on standard error."""
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()

    def say_json(self, value: Any) -> None:
        """One JSON document on standard output."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False))

    def say_line(self, value: Any) -> None:
        """One JSON object on a line of standard output, whatever its encoding is."""
        self.say(json.dumps(value))

    # --- the stack -----------------------------------------------------------------------------------

    def stack(self, named: str | None) -> str:
        """The chosen stack; it exists. Raises ConfigError (2) if none is chosen, exit 6 if it is unknown."""
        from tickover.engine.stackconfig import known_stacks, require_stack

        chosen = named or self.env.get("PULUMI_STACK") or self.selected()
        if not chosen:
            known = known_stacks(self.project, self.backend)
            if len(known) != 1:
                raise no_stack(known)
            chosen = known[0]
        name = chosen.rpartition("/")[2]  # organization/project/stack, as the CLI writes it
        require_stack(self.project, self.backend, name)
        return name

    @property
    def _workspace(self) -> Path:
        """Where the selected stack is written down: the CLI's own file if PULUMI_HOME is set."""
        home = self.env.get("PULUMI_HOME")
        if not home:
            return self.home / "workspace.json"
        file = next((self.root / n for n in PROJECT_FILES if (self.root / n).is_file()), self.root)
        digest = hashlib.sha1(str(file).encode(), usedforsecurity=False).hexdigest()
        return Path(home).expanduser() / "workspaces" / f"{self.project.name}-{digest}-workspace.json"

    def selected(self) -> str:
        """The stack that ``stack select`` chose, or nothing."""
        try:
            document = json.loads(self._workspace.read_text("utf-8"))
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise ConfigError(
                "bad-workspace",
                "Selected stack cannot be read",
                f"{self._workspace}: {error}.",
                hint="tickover stack select STACK",
            ) from error
        return str(document.get("stack") or "") if isinstance(document, dict) else ""

    def select(self, stack: str) -> None:
        """Remember the stack for later commands."""
        from tickover.engine.files import write_atomic

        write_atomic(self._workspace, (json.dumps({"stack": stack}) + "\n").encode(), mode=0o644)

    def passphrase(self, stack: str) -> Callable[[], str]:
        """The stack's passphrase, looked for when first needed."""
        from tickover.engine.stackconfig import passphrase_for

        return passphrase_for(self.project, stack, self.backend, self.env, self.home)

    def keyring(self, stack: str) -> Keyring:
        """The stack's keys."""
        from tickover.engine.secrets import Keyring
        from tickover.engine.stackconfig import load_stack_config

        return Keyring(self.passphrase(stack), load_stack_config(self.project, stack).salt)


def no_stack(known: Sequence[str]) -> ConfigError:
    """No stack is named and none can be assumed."""
    if not known:
        return ConfigError(
            "no-stack", "No stack yet", "The project has no stack.", hint="tickover stack init dev"
        )
    return ConfigError(
        "no-stack",
        "Which stack?",
        f"The project has {', '.join(known)}. Name one with --stack or PULUMI_STACK, or select one:",
        hint=f"tickover stack select {known[0]}",
    )


def confirmed(question: str, *, yes: bool) -> None:
    """Ask a person. Raises ConfigError (exit 2) without a terminal and without ``--yes``, or for a no."""
    if yes:
        return
    require_terminal()
    answer = input(f"{question} [yes/no]: ").strip().lower()
    if answer not in ("y", "yes"):
        raise declined()


def require_terminal() -> None:
    """Raises ConfigError unless somebody can be asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "no-confirmation",
            "Nobody can be asked",
            "This changes things, --yes was not given, and there is no terminal to ask at. "
            "Look at the plan first (tickover preview), then add --yes.",
        )


def declined() -> ConfigError:
    """The person said no."""
    return ConfigError("declined", "Not confirmed", "Nothing was changed.")
