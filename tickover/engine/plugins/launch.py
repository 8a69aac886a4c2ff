"""The command line, folder and environment of a plugin's process.

Owns: how each way of running a plugin is spelled. Promises: the same program that Pulumi would run. Never:
runs it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tickover.engine.plugins.locate import PLUGIN_FILE, Found, Way
from tickover.errors import ConfigError, TickoverError

_PLUGIN_MODULE: Final = "pulumi.run.plugin"
_DYNAMIC_MODULE: Final = "pulumi.dynamic"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What plugins see of the project. folder: of its program, where they run; environ: ours; config: JSON
    of the stack's configuration as Pulumi passes it, empty for none."""

    folder: Path
    interpreter: Path
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    project: str = ""
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    config: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start. speaks: its output is the program author's own, so people see it."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    speaks: bool = False


def launch_of(
    name: str,
    found: Found,
    around: Surroundings,
    engine_address: str,
    renamed: Mapping[str, str] | None = None,
) -> Launch:
    """How found is started. renamed: variable of ours → under which name the plugin sees its value too.
    Raises TickoverError where its PulumiPlugin.yaml cannot be used."""
    env = _environment(around)
    env |= {theirs: env[ours] for ours, theirs in (renamed or {}).items() if ours in env}
    argv: tuple[str, ...]
    match found.way:
        case Way.BINARY:
            argv = (str(found.path), engine_address)
        case Way.DYNAMIC:
            argv = (str(around.interpreter), "-u", "-m", _DYNAMIC_MODULE, engine_address)
            _prepend(env, str(around.folder))
        case Way.FOLDER:
            argv, paths = _folder(found.path, around, engine_address)
            _prepend(env, *paths)
        case Way.ATTACH:
            raise ValueError("a provider that runs already is not started")
    return Launch(name, argv, around.folder, env, speaks=found.way is Way.DYNAMIC)


def _environment(around: Surroundings) -> dict[str, str]:
    env = dict(around.environ)
    if search := env.get("PYTHONPATH"):  # relative entries mean our folder, not the plugin's
        env["PYTHONPATH"] = os.pathsep.join(str(around.folder / p) for p in search.split(os.pathsep) if p)
    for key, value in around.runtime_options.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        env[f"PULUMI_RUNTIME_{key.upper()}"] = text
    if around.project:
        env["PULUMI_PROJECT"] = around.project
    if around.config:
        env["PULUMI_CONFIG"] = around.config
    return env


def _prepend(env: dict[str, str], *paths: str) -> None:
    env["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [env.get("PYTHONPATH", "")])])


def _folder(
    folder: Path, around: Surroundings, engine_address: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command line for a folder with a PulumiPlugin.yaml, and what its modules are found by."""
    document = _read(folder)
    runtime = document.get("runtime")
    if not isinstance(runtime, dict):
        runtime = {"name": runtime}
    if runtime.get("name") != "python":
        raise TickoverError(
            "plugin-runtime",
            "Plugin needs another runtime",
            f"{folder / PLUGIN_FILE} asks for the runtime {runtime.get('name')!r}. This engine runs plugins "
            "in Python and plugins that are executables of their own.",
            address=folder.name,
        )
    options = runtime.get("options") or {}
    own = folder / str(options.get("virtualenv") or "venv") / "bin" / "python"
    python = str(own if own.is_file() else around.interpreter)
    if (folder / "__main__.py").is_file():
        return (python, "-u", str(folder), engine_address), ()
    name = _package_name(folder) or str(document.get("name") or folder.name)
    paths = tuple(str(p) for p in (folder, folder / "src") if p.is_dir())
    return (python, "-u", "-m", _PLUGIN_MODULE, name, engine_address), paths


def _read(folder: Path) -> Mapping[str, Any]:
    file = folder / PLUGIN_FILE
    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "bad-plugin", "Plugin cannot be read", f"{file}: {error}", address=folder.name
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(
            "bad-plugin", "Plugin cannot be read", f"{file} must be a map of keys.", address=folder.name
        )
    return document


def _package_name(folder: Path) -> str:
    """The distribution's name, by which Pulumi's launcher finds the module."""
    try:
        document = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            "bad-plugin",
            "Plugin cannot be read",
            f"{folder / 'pyproject.toml'}: {error}",
            address=folder.name,
        ) from error
    project = document.get("project")
    return str(project.get("name", "")) if isinstance(project, dict) else ""
