"""Where a project keeps its local things.

Owns: the project root and the data home. Promises: absolute paths. Never: creates a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from tickover.errors import ConfigError

PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml")


def project_root(start: Path) -> Path:
    """The nearest folder at or above start that holds a Pulumi.yaml. Raises ConfigError (exit 2)."""
    here = start.resolve()
    for folder in (here, *here.parents):
        if any((folder / name).is_file() for name in PROJECT_FILES):
            return folder
    raise ConfigError(
        "no-project",
        "No Pulumi project here",
        f"Neither {here} nor a folder above it has a Pulumi.yaml.",
        hint="cd to the project, or name it: tickover -C DIR …",
    )


def data_home(root: Path) -> Path:
    """``$TICKOVER_HOME`` if set, else ``<root>/.tickover``."""
    named = os.environ.get("TICKOVER_HOME")
    return Path(named).expanduser().resolve() if named else root / ".tickover"


def host_dir(home: Path) -> Path:
    """The host's data folder inside a data home."""
    return home / "host"


def nas_dir(home: Path) -> Path:
    """The local NAS root inside a data home."""
    return home / "nas"
