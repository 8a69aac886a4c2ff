"""Docker's errors as errors a person can act on.

Owns: what each refusal of the engine means and which command helps. Promises: no secret in a message;
the engine's host is named when it does not answer. Never: calls Docker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.engine.values import Secret
from tickover.errors import Exit, TickoverError

UNREACHABLE_STATUS: Final = 900  # aiodocker's own, where there was no answer


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind of refusal. fits: what the engine says; says: what that means, with ``{what}``."""

    fits: str
    code: str
    summary: str
    says: str
    hint: str = ""
    exit_code: Exit = Exit.RESOURCE


MEANINGS: Final = (
    Meaning(
        r"unauthorized|authentication required|no basic auth|incorrect username|denied",
        "registry-denied",
        "Registry refuses access",
        "The registry of {what} wants other credentials, or the image is not there for you.",
        "docker:registryAuth needs an entry with address, username and password",
        Exit.AUTHENTICATION,
    ),
    Meaning(
        r"manifest.* unknown|manifest for .* not found|no such image|repository name not known|"
        r"repository .* not found|invalid reference|name unknown|image does not exist|does not exist locally",
        "image-not-found",
        "Image not found",
        "The image of {what} is neither on the engine nor in its registry.",
    ),
    Meaning(
        r"port is already allocated|address already in use",
        "port-taken",
        "Port is taken",
        "A host port of {what} is used already.",
        "docker ps --filter publish=PORT",
    ),
    Meaning(
        r"name .* is already in use|already exists with name|network with name .* already exists",
        "name-taken",
        "Name is taken",
        "{what} has the name of another one on this engine.",
    ),
    Meaning(
        r"could not select device driver|nvidia-container",
        "no-gpu",
        "Engine has no GPUs",
        "{what} asks for GPUs and the engine cannot give any.",
        "sudo apt-get install nvidia-container-toolkit && sudo systemctl restart docker",
    ),
    Meaning(
        r"in use|being used by|has active endpoints|must be forced",
        "still-in-use",
        "Still in use",
        "{what} cannot be removed while something uses it.",
    ),
    Meaning(
        r"no such host|dial tcp|i/o timeout|server gave http response|connection refused|certificate",
        "registry-unreachable",
        "Registry does not answer",
        "The registry of {what} cannot be reached from the engine.",
    ),
    Meaning(
        r"no space left",
        "engine-full",
        "Engine's disk is full",
        "There is no room for {what}.",
        "docker system df",
    ),
)


def explain(status: int, message: str, what: str, host: str, hidden: Iterable[str] = ()) -> TickoverError:
    """The error for a refusal of the engine. what: ``container web``; hidden: texts never to show."""
    said = scrub(message, hidden).strip()
    if status == UNREACHABLE_STATUS:
        return unreachable(host, said)
    lower = said.lower()
    for meaning in MEANINGS:
        if re.search(meaning.fits, lower):
            return TickoverError(
                meaning.code,
                meaning.summary,
                f"{_sentence(meaning.says.format(what=what))} The engine says: {said.rstrip('.')}.",
                what,
                meaning.hint,
                meaning.exit_code,
            )
    return TickoverError(
        "docker-refused",
        "Docker refused",
        f"The engine at {host} refused {what}. It says: {said.rstrip('.') or status}.",
        what,
        exit_code=Exit.RESOURCE,
    )


def unreachable(host: str, why: str) -> TickoverError:
    """The error for an engine that does not answer."""
    denied = "permission denied" in why.lower()
    reason = _innermost(why)
    if denied:
        hint = "sudo usermod -aG docker $USER    # then log in again"
    elif host.startswith("unix://"):
        hint = "sudo systemctl start docker    # or name another engine: tickover config set docker:host …"
    else:
        hint = "tickover config set docker:host …    # or DOCKER_HOST"
    return TickoverError(
        "docker-unreachable",
        "Docker engine not reachable",
        f"The Docker engine at {host} does not answer: {reason}. "
        + ("This user may not use its socket." if denied else "Is it running, and is that its address?"),
        host,
        hint,
        Exit.CONFIGURATION,
    )


def _innermost(why: str) -> str:
    """The last bracket of aiodocker's sentence: what the system said."""
    inner = re.findall(r"\[([^\[\]]+)\]", why)
    return (inner[-1] if inner else why).rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def scrub(message: str, hidden: Iterable[str]) -> str:
    """message with every hidden text masked, the longest first."""
    for text in sorted({h for h in hidden if h}, key=len, reverse=True):
        message = message.replace(text, "[secret]")
    return message


def secrets_in(value: Any) -> set[str]:
    """The texts to hide: everything inside a Secret, and the values of environment variables."""
    return {text for text in _secrets(value, inside=False) if len(text) > 2}


def _secrets(value: Any, *, inside: bool) -> Iterable[str]:
    match value:
        case Secret():
            yield from _secrets(value.value, inside=True)
        case str() if inside:
            yield value
            yield value.partition("=")[2]
        case list():
            for item in value:
                yield from _secrets(item, inside=inside)
        case Mapping():
            for item in value.values():
                yield from _secrets(item, inside=inside)


def environment_values(envs: Any) -> set[str]:
    """The values in ``KEY=VALUE`` texts that are long enough to be a credential."""
    texts = envs if isinstance(envs, list) else []
    return {v for t in texts if isinstance(t, str) and len(v := t.partition("=")[2]) > 7}
