"""Packages that a program has registered, and default providers for packages.

Owns: the meaning of a package reference and which default provider serves a request. Promises: equal
packages get one reference and one default provider. Never: starts a plugin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pulumi.runtime.proto import resource_pb2

from tickover.engine.packages import PackageSpec, Parameterization
from tickover.errors import ConfigError


@dataclass(slots=True)
class Packages:
    """The packages of one run. config: full key → text."""

    config: Mapping[str, str]
    _by_reference: dict[str, PackageSpec] = field(default_factory=dict)

    def register(self, request: resource_pb2.RegisterPackageRequest) -> str:
        """The reference of a package."""
        if request.HasField("extension"):
            raise ConfigError(
                "not-supported",
                "Not supported by this engine",
                f"The package {request.name} extends another provider, which tickover does not do yet.",
            )
        given = request.parameterization
        parameterization = None
        if request.HasField("parameterization"):
            parameterization = Parameterization(given.name, given.version, given.value)
        spec = PackageSpec(
            name=request.name,
            version=request.version,
            download_url=request.download_url.rstrip("/"),
            parameterization=parameterization,
            checksums=dict(request.checksums),
        )
        reference = hashlib.sha256(repr(spec).encode()).hexdigest()[:32]
        self._by_reference[reference] = spec
        return reference

    def find(self, reference: str) -> PackageSpec | None:
        """The package of a reference; None for an empty one. Raises ConfigError for an unknown one."""
        if not reference:
            return None
        if reference not in self._by_reference:
            raise ConfigError("unknown-package", "Unknown package", f"{reference!r} was not registered.")
        return self._by_reference[reference]

    def default(self, package: str, version: str, url: str, reference: str) -> PackageSpec:
        """The package that a request means. Raises ConfigError where default providers are disabled."""
        spec = self.find(reference) or PackageSpec(package, version, url.rstrip("/"))
        barred = self._disabled()
        if spec.package != "pulumi" and ("*" in barred or spec.package in barred):
            raise ConfigError(
                "default-provider-disabled",
                "Default provider is disabled",
                f"The stack config says pulumi:disable-default-providers for {spec.package!r}: name a "
                "provider with the option `provider`.",
            )
        return spec

    def _disabled(self) -> tuple[str, ...]:
        text = self.config.get("pulumi:disable-default-providers", "")
        if not text:
            return ()
        try:
            found = json.loads(text)
        except ValueError as error:
            raise _not_a_list() from error
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise _not_a_list()
        return tuple(item.strip() for item in found)


def default_name(spec: PackageSpec) -> str:
    """The name of a default provider: ``default``, and what tells it from others of the package."""
    version = spec.parameterization.version if spec.parameterization else spec.version
    parts = ["default"]
    if version:
        parts.append(version)
    if spec.download_url:
        parts.append(spec.download_url)
    text = "_".join(parts)
    return "".join(char if char.isalnum() or char == "_" else "_" for char in text)


def identity(spec: PackageSpec) -> PackageSpec:
    """spec without what does not tell one default provider from another."""
    return replace(spec, checksums={}, environment={})


def _not_a_list() -> ConfigError:
    return ConfigError(
        "bad-config",
        "Stack config is not valid",
        "pulumi:disable-default-providers must be a JSON list of package names.",
    )
