"""Which provider a package name means, as data, and who finds it.

Owns: the description of a package and the protocol of a source of plugins. Promises: two specs that are
equal mean one plugin. Never: starts a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tickover.engine.provider import Provider, ProviderLog


@dataclass(frozen=True, slots=True)
class Parameterization:
    """What a generic plugin is told to become. value: opaque bytes of the package's SDK."""

    name: str
    version: str
    value: bytes


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """name: of the plugin (``random``); version: semver without ``v``, empty for any; download_url: where
    the plugin comes from, empty for the usual place; checksums: sha256 by platform (``linux-amd64``);
    environment: variable → the name under which the plugin's process sees it too."""

    name: str
    version: str = ""
    download_url: str = ""
    parameterization: Parameterization | None = None
    checksums: Mapping[str, bytes] = field(default_factory=dict, hash=False)
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def package(self) -> str:
        """The name that type tokens begin with."""
        return self.parameterization.name if self.parameterization is not None else self.name


class PluginSource(Protocol):
    """Finds and starts provider plugins for one operation."""

    def finds(self, spec: PackageSpec) -> bool:
        """True if a plugin for spec is there; nothing is started."""

    async def open(self, spec: PackageSpec, log: ProviderLog) -> Provider:
        """A fresh provider of spec, handshaken and parameterized, not configured. One process may serve
        several. Raises TickoverError (``plugin-missing``, ``plugin-failed``) naming what was looked for,
        where, and the command that installs it."""

    async def close(self) -> None:
        """End every process started."""
