"""Where a project's state lies: the rules of the Pulumi CLI, but for its cloud service.

Owns: the order of sources, the meaning of ``file://`` URLs, which store a URL is. Promises: pure but for
reading credentials.json. Never: creates a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tickover.engine.project import Project
from tickover.engine.stores import Store
from tickover.engine.stores.folder import FolderStore
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.paths import data_home

BUCKET_SCHEMES: Final = ("s3", "gs", "azblob")
_SCHEME: Final = "file://"
_DEFAULT: Final = "file://~"
_DATA_HOME: Final = ".tickover"


@dataclass(frozen=True, slots=True)
class BackendUrl:
    """url as written; source: where it was found, for messages."""

    url: str
    source: str


def choose_url(project: Project, env: Mapping[str, str]) -> BackendUrl:
    """PULUMI_BACKEND_URL, else Pulumi.yaml's backend, else what ``pulumi login`` chose, else the home."""
    if url := env.get("PULUMI_BACKEND_URL"):
        return BackendUrl(url, "PULUMI_BACKEND_URL")
    if project.backend_url:
        return BackendUrl(project.backend_url, "Pulumi.yaml")
    home = Path(env.get("PULUMI_HOME") or Path(env.get("HOME") or "~").expanduser() / ".pulumi")
    credentials = home / "credentials.json"
    if current := _current(credentials):
        return BackendUrl(current, str(credentials))
    return BackendUrl(_DEFAULT, "the default")


def _current(path: Path) -> str:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise TickoverError(
            "bad-credentials",
            "Pulumi credentials cannot be read",
            f"{path}: {error}.",
            hint="pulumi login --local",
            exit_code=Exit.AUTHENTICATION,
        ) from error
    current = document.get("current") if isinstance(document, dict) else None
    return current if isinstance(current, str) else ""


def store_of(chosen: BackendUrl, root: Path, env: Mapping[str, str]) -> Store:
    """The folder or bucket that holds ``.pulumi``. Raises ConfigError for what is neither."""
    if chosen.url.partition("://")[0] in BUCKET_SCHEMES:
        # Its library is large, and most people keep their state in a folder.
        from tickover.engine.stores.opening import open_bucket

        return open_bucket(chosen.url, env)
    return FolderStore(folder_of(chosen, root, env), chosen.url)


def folder_of(chosen: BackendUrl, root: Path, env: Mapping[str, str] | None = None) -> Path:
    """The folder that holds ``.pulumi``. Relative URLs start at the project root; ``.tickover`` in front
    is the data home, wherever that lies. Raises ConfigError for what is not a file URL."""
    if not chosen.url.startswith(_SCHEME):
        raise ConfigError(
            "backend-url",
            "State back end not supported",
            f"{chosen.source} names {chosen.url}. tickover keeps state in a folder (file://…) or a "
            "bucket (s3://…, gs://…, azblob://…).",
            hint="export PULUMI_BACKEND_URL=file://~",
        )
    text = unquote(chosen.url.removeprefix(_SCHEME).partition("?")[0])
    environment = os.environ if env is None else env
    if text == "~" or text.startswith("~/"):
        return Path(environment.get("HOME") or Path.home()) / text[2:]
    path = Path(text)
    if path.is_absolute():
        return path
    parts = path.parts
    if parts and parts[0] == _DATA_HOME:
        return data_home(root).joinpath(*parts[1:])
    return (root / path).resolve()
