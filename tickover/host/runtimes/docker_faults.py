"""The engine's refusals as sentences a person can act on.

Owns: what each refusal means and what helps. Promises: pure; no hidden text in a sentence; an engine that is
away is told from one that refuses. Never: calls the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tickover.host.runtimes.base import RuntimeFailed

NOT_FOUND_STATUS: Final = 404
UNREACHABLE_STATUS: Final = 900  # aiodocker's own, where there was no answer
_CREDENTIALS: Final = "customContainerConfig.registryConfig.authConfig"


class Kind(Enum):
    """What was refused, and why."""

    DENIED = "denied"
    IMAGE_ABSENT = "image absent"
    ARCHITECTURE = "architecture"
    DISK_FULL = "disk full"
    MOUNT = "mount"
    REGISTRY_AWAY = "registry away"
    COMMAND_ABSENT = "command absent"
    COMMAND_UNUSABLE = "command unusable"
    PORT_TAKEN = "port taken"
    NO_GPU = "no GPU"
    OTHER = "other"


@dataclass(eq=False)
class EngineAway(RuntimeFailed):
    """Nobody knows whether it was done: the engine did not answer."""


@dataclass(eq=False)
class EngineRefused(RuntimeFailed):
    """The engine answered, and did not do it."""

    status: int = 0
    kind: Kind = Kind.OTHER


@dataclass(frozen=True, slots=True)
class Meaning:
    """fits: what the engine says, in lower case; says: what that means, with ``{what}``."""

    kind: Kind
    fits: str
    says: str


# The first that fits counts: an engine's sentence about a full disk may name a registry too.
MEANINGS: Final = (
    Meaning(
        Kind.DISK_FULL,
        r"no space left on device|disk quota exceeded",
        "there is no room for {what} on the engine's disk (what takes it: docker system df)",
    ),
    Meaning(
        Kind.MOUNT,
        r"failed to mount local volume|failed to populate volume|error resolving passed in network volume",
        "a NAS of {what} could not be mounted (no such device: this machine's kernel has no NFS client, "
        "sudo modprobe nfs; refused or timed out: the server is down or does not export it to this machine; "
        "tickover doctor says more)",
    ),
    Meaning(
        Kind.ARCHITECTURE,
        r"no matching manifest|does not match the (detected|specified) (host )?platform|exec format error",
        "{what} is not made for this machine's processor",
    ),
    Meaning(
        Kind.NO_GPU,
        r"could not select device driver|nvidia-container|cdi device|unknown device",
        "{what} asks for GPUs and the engine cannot give any "
        "(sudo apt-get install nvidia-container-toolkit && sudo systemctl restart docker)",
    ),
    Meaning(
        Kind.COMMAND_ABSENT,
        r"executable file .*not found|exec:? .*: no such file or directory",
        "the command of {what} is not in the image (customContainerConfig.entrypoint and command, or the "
        "image's own)",
    ),
    Meaning(
        Kind.COMMAND_UNUSABLE,
        r"exec: .*permission denied|is a directory",
        "the command of {what} is in the image and is not a program that may be run",
    ),
    Meaning(
        Kind.PORT_TAKEN,
        r"port is already allocated|address already in use",
        "the port that {what} was promised was taken meanwhile",
    ),
    Meaning(
        Kind.DENIED,
        r"unauthorized|authentication required|no basic auth|incorrect username|access denied|denied:|"
        r"403 forbidden",
        f"the registry gives {{what}} only to those it knows, or does not have it; credentials go into "
        f"{_CREDENTIALS}",
    ),
    Meaning(
        Kind.IMAGE_ABSENT,
        r"manifest unknown|manifest for .* not found|no such image|repository name not known|name unknown|"
        r"repository .* not found|not found: does not exist|invalid reference|image does not exist",
        "{what} is neither on the engine nor in its registry",
    ),
    Meaning(
        Kind.REGISTRY_AWAY,
        r"no such host|dial tcp|i/o timeout|server gave http response|connection refused|x509|tls|"
        r"deadline exceeded|client\.timeout|unexpected eof|service unavailable|bad gateway|network is unrea",
        "the registry of {what} cannot be reached from the engine",
    ),
)


def refusal(status: int, message: str, what: str, hidden: Iterable[str] = ()) -> EngineRefused:
    """The error for a refusal. what: ``image app:1``; hidden: texts never to show."""
    said = " ".join(scrub(message, hidden).split()).rstrip(".") or f"status {status}"
    lower = said.lower()
    for meaning in MEANINGS:
        if re.search(meaning.fits, lower):
            reason = f"{meaning.says.format(what=what)}. The engine says: {said}"
            return EngineRefused(reason, status, meaning.kind)
    return EngineRefused(f"the Docker engine refused {what}: {said}", status)


def away(address: str, why: str) -> EngineAway:
    """The error for an engine that does not answer."""
    inner = re.findall(r"\[([^\[\]]+)\]", why)
    reason = (inner[-1] if inner else why).rstrip(".") or "no answer"
    if "permission denied" in why.lower():
        help_ = "this user may not use its socket: sudo usermod -aG docker $USER, then log in again"
    else:
        help_ = "is it running? sudo systemctl start docker"
    return EngineAway(f"the Docker engine at {address} does not answer: {reason} ({help_})")


def scrub(message: str, hidden: Iterable[str]) -> str:
    """message with every hidden text masked, the longest first."""
    for text in sorted({h for h in hidden if len(h) > 2}, key=len, reverse=True):
        message = message.replace(text, "[secret]")
    return message
