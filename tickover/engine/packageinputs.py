"""What a provider resource keeps of its plugin, beside its configuration.

Owns: the reserved keys of a provider's inputs (``version``, ``__internal``). Promises: both directions;
what is handed to a plugin has no reserved key. Never: finds a plugin.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from tickover.engine.goal import package_of
from tickover.engine.packages import PackageSpec, Parameterization
from tickover.engine.values import PropertyMap, reveal

INTERNAL: Final = "__internal"
_VERSION: Final = "version"
_URL: Final = "pluginDownloadURL"
_NAME: Final = "name"
_PARAMETER: Final = "parameterization"
_CHECKSUMS: Final = "pluginChecksums"
_ENVIRONMENT: Final = "envVarMappings"


def with_spec(inputs: PropertyMap, spec: PackageSpec) -> PropertyMap:
    """inputs that remember which plugin they are for."""
    result = dict(inputs)
    internal: dict[str, Any] = dict(result.get(INTERNAL) or {})
    if spec.version:
        result[_VERSION] = spec.version
    if spec.download_url:
        internal[_URL] = spec.download_url
    if spec.checksums:
        internal[_CHECKSUMS] = {name: digest.hex() for name, digest in sorted(spec.checksums.items())}
    if spec.parameterization is not None:
        internal[_NAME] = spec.name
        internal[_VERSION] = spec.version
        result[_VERSION] = spec.parameterization.version
        internal[_PARAMETER] = base64.b64encode(spec.parameterization.value).decode("ascii")
    if internal:
        result[INTERNAL] = internal
    return result


def with_environment(inputs: PropertyMap, mappings: Mapping[str, str]) -> PropertyMap:
    """inputs whose plugin is started with variables under other names."""
    internal = {**(inputs.get(INTERNAL) or {}), _ENVIRONMENT: dict(mappings)}
    return {**inputs, INTERNAL: internal} if mappings else inputs


def spec_of(type_: str, inputs: PropertyMap) -> PackageSpec:
    """The plugin that a provider resource of this type and these inputs is for."""
    internal = inputs.get(INTERNAL)
    internal = reveal(internal) if isinstance(internal, dict) else {}
    version = reveal(inputs.get(_VERSION))
    package = package_of(type_)
    value = internal.get(_PARAMETER)
    parameterization = None
    if isinstance(value, str):
        parameterization = Parameterization(package, str(version or ""), base64.b64decode(value))
        version = internal.get(_VERSION)
    checksums = internal.get(_CHECKSUMS)
    return PackageSpec(
        name=str(internal.get(_NAME) or package),
        version=version if isinstance(version, str) else "",
        download_url=str(internal.get(_URL) or ""),
        parameterization=parameterization,
        checksums={k: bytes.fromhex(v) for k, v in checksums.items()} if isinstance(checksums, dict) else {},
        environment=dict(internal.get(_ENVIRONMENT) or {}),
    )


def visible(inputs: PropertyMap) -> PropertyMap:
    """inputs as the plugin may see them."""
    return {k: v for k, v in inputs.items() if k != INTERNAL}


def checked(answer: PropertyMap, wanted: PropertyMap) -> PropertyMap:
    """What CheckConfig answered, with the reserved keys as they were wanted."""
    result = {k: v for k, v in answer.items() if k != INTERNAL}
    for key in (_VERSION, INTERNAL):
        if key in wanted:
            result[key] = wanted[key]
    return result
