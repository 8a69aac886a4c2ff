"""Image references: ``[registry/]repository[:tag][@digest]``, and which of them stay what they are.

Owns: reading a reference. Promises: pure functions of the text. Never: asks a registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PROCESS_SCHEME: Final = "process://"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
# As Docker reads it: the first part is a registry only if it has a dot or a port, or is localhost.
_REPOSITORY: Final = re.compile(
    r"(?:(?:localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+(?=:\d))(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
)
_TAG: Final = re.compile(r"\w[\w.-]{0,127}")
# A version has at least major.minor, is a date, or is a commit; `v1`, `main` and `latest` move.
_VERSION_TAG: Final = re.compile(r".*\d+\.\d+.*|.*20\d{6}.*|[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """tag and digest are empty where the reference has none."""

    repository: str
    tag: str
    digest: str

    @property
    def is_pinned(self) -> bool:
        """True if the same reference will name the same content tomorrow, as far as a name can promise."""
        return bool(self.digest) or is_version_tag(self.tag)


def is_version_tag(tag: str) -> bool:
    """True for a tag that looks like one release: ``v0.32.0``, ``24.05-py3``, a commit."""
    return bool(_VERSION_TAG.fullmatch(tag))


def parse_reference(reference: str) -> ImageReference:
    """The parts of a reference. Raises ValueError saying what is wrong. No tag and no digest is allowed."""
    name, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError("the part after @ must be sha256: and 64 hexadecimal digits")
    colon = name.rfind(":")
    has_tag = colon > name.rfind("/")
    repository, tag = (name[:colon], name[colon + 1 :]) if has_tag else (name, "")
    if has_tag and not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not a tag")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"{repository!r} is not a repository; names are lower case")
    return ImageReference(repository, tag, digest)
