"""Pulumi.yaml: what a project says about itself.

Owns: reading the project file into `Project`. Promises: every mistake of the file is an error with the
file's name; unknown top-level keys are left alone. Never: reads a stack's file (see `stackconfig`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tickover.engine.configschema import ConfigDeclaration, parse_declarations
from tickover.errors import ConfigError
from tickover.paths import PROJECT_FILES


@dataclass(frozen=True, slots=True)
class PluginPath:
    """One entry of ``plugins:``; kind: providers | languages | analyzers; path absolute."""

    kind: str
    name: str
    path: Path
    version: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    """root: the folder of Pulumi.yaml. main: absolute folder or file of the program."""

    name: str
    root: Path
    runtime: str = "python"
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    main: Path = Path()
    backend_url: str = ""
    stack_config_dir: Path = Path()
    config: Mapping[str, ConfigDeclaration] = field(default_factory=dict)
    plugins: tuple[PluginPath, ...] = ()
    description: str = ""


def load_project(root: Path) -> Project:
    """The project whose Pulumi.yaml lies in root. Raises ConfigError (exit 2)."""
    path = next((root / name for name in PROJECT_FILES if (root / name).is_file()), None)
    if path is None:
        raise ConfigError("no-project", "No Pulumi project here", f"{root} has no Pulumi.yaml.")
    try:
        text = path.read_text("utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "bad-project", "Project file cannot be read", f"{path.name}: {error}", address=path.name
        ) from error
    if not isinstance(document, dict):
        raise _bad(path, "it must be a map of keys")
    return parse_project(document, path)


def parse_project(document: Mapping[str, Any], path: Path) -> Project:
    """The project that a parsed Pulumi.yaml at path declares."""
    root = path.parent.resolve()
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise _bad(path, "it has no `name`")
    runtime, options = _runtime(document.get("runtime", "python"), path)
    backend = document.get("backend") or {}
    if not isinstance(backend, dict) or not isinstance(backend.get("url", ""), str):
        raise _bad(path, "`backend` must be a map with a text `url`")
    return Project(
        name=name,
        root=root,
        runtime=runtime,
        runtime_options=options,
        main=(root / _text(document, "main", path)).resolve(),
        backend_url=backend.get("url", ""),
        stack_config_dir=(root / _text(document, "stackConfigDir", path)).resolve(),
        config=parse_declarations(document.get("config") or {}, name, path.name),
        plugins=_plugins(document.get("plugins") or {}, root, path),
        description=_text(document, "description", path),
    )


def _text(document: Mapping[str, Any], key: str, path: Path) -> str:
    value = document.get(key) or ""
    if not isinstance(value, str):
        raise _bad(path, f"`{key}` must be text")
    return value


def _runtime(value: Any, path: Path) -> tuple[str, dict[str, Any]]:
    match value:
        case str():
            return value, {}
        case {"name": str() as name, **rest}:
            options = rest.get("options") or {}
            if isinstance(options, dict):
                return name, options
            raise _bad(path, "`runtime.options` must be a map")
        case _:
            raise _bad(path, "`runtime` must be a name, or a map with a `name`")


def _plugins(value: Any, root: Path, path: Path) -> tuple[PluginPath, ...]:
    if not isinstance(value, dict):
        raise _bad(path, "`plugins` must be a map")
    found: list[PluginPath] = []
    for kind, entries in value.items():
        for entry in entries or []:
            match entry:
                case {"name": str() as name, "path": str() as where}:
                    version = str(entry.get("version") or "")
                    found.append(PluginPath(str(kind), name, (root / where).resolve(), version))
                case _:
                    raise _bad(path, f"each entry of `plugins.{kind}` must have a name and a path")
    return tuple(found)


def _bad(path: Path, what: str) -> ConfigError:
    return ConfigError("bad-project", "Project file is not valid", f"{path.name}: {what}.", address=path.name)
