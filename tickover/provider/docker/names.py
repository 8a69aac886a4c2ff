"""Image names as Docker reads them: which registry, which repository, which tag.

Owns: the split of a name and the normal form of registry addresses. Promises: pure functions of the text.
Never: asks a registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HUB: Final = "docker.io"
_HUB_NAMES: Final = frozenset({HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


@dataclass(frozen=True, slots=True)
class ImageName:
    """registry: host and port, ``docker.io`` where none is named; tag: ``latest`` where neither tag nor
    digest is named; digest: with ``sha256:``, or empty."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def reference(self) -> str:
        """What a registry calls this version."""
        return self.digest or self.tag

    @property
    def full(self) -> str:
        """The name with its registry and version spelt out."""
        mark = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{mark}"


def parse(name: str) -> ImageName:
    """The parts of an image name."""
    rest, _, digest = name.partition("@")
    first, slash, remainder = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, path = registry_of(first), remainder
    else:
        registry, path = HUB, rest
    repository, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = path, ""
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    return ImageName(registry, repository, tag or ("" if digest else "latest"), digest)


def registry_of(address: str) -> str:
    """A registry's address without scheme and path; every name of Docker Hub becomes ``docker.io``."""
    host = address.split("://", 1)[-1].split("/", 1)[0].lower()
    return HUB if host in _HUB_NAMES else host


def same_repository(one: str, other: str) -> bool:
    """True if both names mean the same repository of the same registry."""
    a, b = parse(one), parse(other)
    return (a.registry, a.repository) == (b.registry, b.repository)
