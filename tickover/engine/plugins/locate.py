"""Where a provider plugin is, by the rules of the Pulumi CLI.

Owns: the order of the places and the choice among versions. Promises: a pure function of what is asked,
the project, the environment and a view of the disk; the same plugin that Pulumi would take. Never: starts
anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from semver import Version

from tickover.engine.packages import PackageSpec
from tickover.engine.project import PluginPath
from tickover.errors import ConfigError, Exit, TickoverError

DYNAMIC_PACKAGE: Final = "pulumi-python"
PLUGIN_FILE: Final = "PulumiPlugin.yaml"
KIND: Final = "resource"

_DEBUG: Final = "PULUMI_DEBUG_PROVIDERS"
_NO_AMBIENT: Final = "PULUMI_IGNORE_AMBIENT_PLUGINS"
_CACHED: Final = re.compile(r"^resource-(?P<name>[a-zA-Z0-9_.-]+)-v(?P<version>[0-9].*)$")
_UNFINISHED: Final = re.compile(r"\.tmp[0-9]+$")


class Disk(Protocol):
    """What the search needs to know of the file system."""

    def is_dir(self, path: Path) -> bool: ...
    def is_file(self, path: Path) -> bool: ...
    def is_executable(self, path: Path) -> bool: ...
    def names(self, folder: Path) -> Sequence[str]:
        """The entries of folder; nothing where it is not there."""


class RealDisk:
    """The file system of this machine."""

    def is_dir(self, path: Path) -> bool:
        return path.is_dir()

    def is_file(self, path: Path) -> bool:
        return path.is_file()

    def is_executable(self, path: Path) -> bool:
        return path.is_file() and os.access(path, os.X_OK)

    def names(self, folder: Path) -> Sequence[str]:
        try:
            return sorted(os.listdir(folder))
        except OSError:  # a place that cannot be read holds no plugin for us
            return ()


class Way(Enum):
    """How a plugin is run."""

    BINARY = "binary"
    FOLDER = "folder"  # with a PulumiPlugin.yaml
    ATTACH = "attach"  # it runs already
    DYNAMIC = "dynamic"  # Pulumi's own dynamic provider for Python


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin. path: of the binary or folder; port: of one that runs already; place: words for people;
    cached: its folder in the cache, if it lies there."""

    way: Way
    path: Path = Path()
    port: int = 0
    place: str = ""
    is_ambient: bool = False
    cached: Path | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """No plugin. looked: each place with what was (not) there."""

    looked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cached:
    """One plugin in the cache."""

    name: str
    version: Version
    path: Path


def locate(
    spec: PackageSpec,
    project_plugins: Iterable[PluginPath],
    environ: Mapping[str, str],
    interpreter: Path,
    disk: Disk,
) -> Found | Missing:
    """The plugin for spec. Raises ConfigError where Pulumi.yaml or the environment contradict themselves."""
    if (port := _debug_port(spec.name, environ.get(_DEBUG, ""))) is not None:
        return Found(Way.ATTACH, port=port, place=_DEBUG)
    looked: list[str] = []
    declared = _declared(spec, list(project_plugins), disk, looked)
    if declared is not None:
        return declared
    if spec.name == DYNAMIC_PACKAGE:
        return Found(Way.DYNAMIC, interpreter, place="the program's interpreter")
    if environ.get(_NO_AMBIENT, "").lower() in ("", "0", "false"):
        ambient = _ambient(spec.name, environ, interpreter, disk, looked)
        if ambient is not None:
            return ambient
    else:
        looked.append(f"PATH: not searched, because {_NO_AMBIENT} is set")
    return _cached(spec, environ, disk, looked) or Missing(tuple(looked))


def binary_name(name: str) -> str:
    return f"pulumi-{KIND}-{name}"


def plugins_home(environ: Mapping[str, str]) -> Path:
    """The plugin cache, shared with the Pulumi CLI."""
    home = environ.get("PULUMI_HOME")
    return (Path(home) if home else Path(environ.get("HOME") or "~").expanduser() / ".pulumi") / "plugins"


def parse_version(text: str) -> Version | None:
    """A version as plugins write theirs (a leading v, parts left out), or None."""
    try:
        return Version.parse(text.removeprefix("v"), optional_minor_and_patch=True)
    except ValueError:
        return None


def cached_plugins(home: Path, disk: Disk) -> list[Cached]:
    """The whole plugins of the cache, by name, then version."""
    found = []
    names = disk.names(home)
    for entry in names:
        match = _CACHED.match(entry)
        if match is None or _UNFINISHED.search(entry) or f"{entry}.partial" in names:
            continue
        version = parse_version(match["version"])
        if version is not None and disk.is_dir(home / entry):
            found.append(Cached(match["name"], version, home / entry))
    return sorted(found, key=lambda p: (p.name, p.version, str(p.path)))


def local_name(spec: PackageSpec) -> tuple[str, str]:
    """The name in the cache, and the folder below it: both tell of the repository for git:// plugins."""
    if not spec.download_url.startswith("git://"):
        return spec.name, ""
    parts = spec.download_url.removeprefix("git://").strip("/").split("/")
    repository, below = parts[:3], parts[3:]
    name = "_".join([*repository[:2], repository[2].removesuffix(".git") + ".git", *below])
    return name, "/".join(below)


def missing_error(spec: PackageSpec, looked: Sequence[str]) -> TickoverError:
    """What a person is told where there is no plugin."""
    version = spec.version or "VERSION"
    server = f" --server {spec.download_url}" if spec.download_url else ""
    wanted = f"{spec.name} {spec.version}".strip()
    return TickoverError(
        "plugin-missing",
        "Provider plugin not found",
        f"The program needs the provider {wanted}. Looked at:" + "".join(f"\n  {line}" for line in looked),
        address=spec.name,
        hint=f"tickover plugin install {KIND} {spec.name} {version}{server}",
        exit_code=Exit.CONFIGURATION,
    )


def _debug_port(name: str, text: str) -> int | None:
    for entry in filter(None, text.split(",")):
        package, _, port = entry.partition(":")
        if package.strip() != name:
            continue
        if port.isdigit() and 0 < int(port) < 65536:
            return int(port)
        raise ConfigError(
            "bad-debug-providers",
            "Debug provider has no port",
            f"{_DEBUG} must be NAME:PORT entries separated by commas; {entry!r} names no port.",
            address=_DEBUG,
        )
    return None


def _declared(spec: PackageSpec, plugins: list[PluginPath], disk: Disk, looked: list[str]) -> Found | None:
    """The plugin that ``plugins.providers`` of Pulumi.yaml names."""
    mine = [p for p in plugins if p.kind == "providers" and p.name == spec.name]
    versions = [p.version for p in mine if p.version]
    if len(versions) != len(set(versions)):
        raise ConfigError(
            "bad-project",
            "Project file is not valid",
            f"Pulumi.yaml names the provider {spec.name} twice in one version.",
            address="Pulumi.yaml",
        )
    for plugin in mine:
        if plugin.version and spec.version and not _same_version(plugin.version, spec.version):
            looked.append(f"Pulumi.yaml: names version {plugin.version}, and {spec.version} is needed")
            continue
        found = _at(plugin.path, spec.name, "Pulumi.yaml", disk)
        if found is not None:
            return found
        looked.append(f"Pulumi.yaml: {plugin.path} holds neither {binary_name(spec.name)} nor {PLUGIN_FILE}")
        raise missing_error(spec, looked)  # Pulumi does not look further, and another one would surprise
    if not mine:
        looked.append("Pulumi.yaml: no such entry under plugins.providers")
    return None


def _at(path: Path, name: str, place: str, disk: Disk) -> Found | None:
    """The plugin in a folder, or the binary that path itself is."""
    if disk.is_executable(path):
        return Found(Way.BINARY, path, place=place)
    if disk.is_executable(binary := path / binary_name(name)):
        return Found(Way.BINARY, binary, place=place)
    if disk.is_file(path / PLUGIN_FILE):
        return Found(Way.FOLDER, path, place=place)
    return None


def _ambient(
    name: str, environ: Mapping[str, str], interpreter: Path, disk: Disk, looked: list[str]
) -> Found | None:
    binary = binary_name(name)
    for folder in filter(None, environ.get("PATH", "").split(os.pathsep)):
        if disk.is_executable(Path(folder) / binary):
            return Found(Way.BINARY, Path(folder) / binary, place="PATH", is_ambient=True)
    looked.append(f"PATH: no {binary}")
    beside = interpreter.parent / binary
    if disk.is_executable(beside):
        return Found(Way.BINARY, beside, place="the program's virtual environment")
    looked.append(f"{beside.parent}: no {binary}")
    return None


def _cached(spec: PackageSpec, environ: Mapping[str, str], disk: Disk, looked: list[str]) -> Found | None:
    home = plugins_home(environ)
    name, below = local_name(spec)
    mine = [plugin for plugin in cached_plugins(home, disk) if plugin.name == name]
    chosen = _choose(mine, spec.version)
    if chosen is None:
        have = ", ".join(str(plugin.version) for plugin in mine)
        looked.append(f"{home}: " + (f"only version {have}" if have else f"no {KIND}-{name}"))
        return None
    folder = chosen.path / below if below else chosen.path
    found = _at(folder, spec.name, str(home), disk)
    if found is None:
        looked.append(f"{folder}: holds neither {binary_name(spec.name)} nor {PLUGIN_FILE}")
        return None
    return replace(found, cached=chosen.path)


def _choose(plugins: Sequence[Cached], wanted: str) -> Cached | None:
    """The very version where one is asked for, otherwise the newest, finished ones first."""
    if wanted:
        asked = parse_version(wanted)
        same = [plugin for plugin in plugins if plugin.version == asked]
        return same[-1] if same else None
    return max(plugins, key=lambda p: (p.version.prerelease is None, p.version), default=None)


def _same_version(one: str, other: str) -> bool:
    a, b = parse_version(one), parse_version(other)
    return a == b if a is not None and b is not None else one == other
