"""Images for instances: found, pulled, checked and pinned.

Owns: which image a spec runs. Promises: all instances of one spec run the same image while one of them lives
or the pin is kept, whatever happens to the tag; an image of another processor is refused before anything is
made of it; progress goes to the instance's log. Never: shows a password, removes an image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from tickover.fc.function import Function
from tickover.host.runtimes.base import RuntimeFailed
from tickover.host.runtimes.docker_config import OWNER_LABEL, SPEC_LABEL, EngineFacts, image_of, spec_digest
from tickover.host.runtimes.docker_faults import EngineRefused, Kind

if TYPE_CHECKING:
    from tickover.host.runtimes.docker_engine import Engine

_IMAGE_ID: Final = re.compile(r"(sha256:)?[0-9a-f]{64}")
HUB: Final = "docker.io"
Say = Callable[[str], None]
_LAYER_DONE: Final = frozenset({"Pull complete", "Already exists"})
# What an image that the engine has already helps against.
_USE_LOCAL: Final = frozenset({Kind.DENIED, Kind.IMAGE_ABSENT, Kind.REGISTRY_AWAY})


def registry_name(image: str) -> str:
    """The name with its registry spelt out, as credentials want it."""
    first, slash, _ = image.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return image
    return f"{HUB}/{image}" if slash else f"{HUB}/library/{image}"


def repository_of(image: str) -> str:
    """The name without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def login_of(spec: Function) -> dict[str, str] | None:
    """The credentials of a spec for its registry; None to ask as anybody."""
    container = spec.custom_container_config
    registry = container.registry_config if container else None
    given = registry.auth_config if registry else None
    if given is None or not given.user_name:
        return None
    return {"username": given.user_name, "password": given.password or ""}


def pin_of(image: Mapping[str, Any], name: str) -> str:
    """The name that means this very image for ever: its digest in the registry, else its id here."""
    repository = repository_of(registry_name(name))
    for digest in image.get("RepoDigests") or ():
        if repository_of(registry_name(digest)) == repository:
            return str(digest)
    return str(image["Id"])


def check_architecture(image: Mapping[str, Any], name: str, engine: EngineFacts) -> None:
    """Raises RuntimeFailed for an image of another processor."""
    made_for = str(image.get("Architecture") or engine.architecture)
    if made_for != engine.architecture:
        raise RuntimeFailed(
            f"image {name} is made for {made_for} and this machine is {engine.architecture}; "
            f"name one that is made for {engine.architecture}"
        )


def progress(layers: Mapping[str, str], name: str) -> str:
    """One line about a pull."""
    done = sum(state in _LAYER_DONE for state in layers.values())
    return f"pulling image {name}: {done} of {len(layers)} layers"


class Images:
    """The images of one host. pins: spec digest → image; may be kept beyond the host's life."""

    def __init__(self, engine: Engine, owner: str, pins: MutableMapping[str, str]) -> None:
        self._engine = engine
        self._owner = owner
        self._pins = pins

    async def provide(self, spec: Function, facts: EngineFacts, say: Say) -> str:
        """The id of the image of a spec, pulled if need be. Raises RuntimeFailed."""
        name, key = image_of(spec), spec_digest(spec)
        image = await self._pinned(spec, key, say) or await self._resolved(spec, name, say)
        check_architecture(image, name, facts)
        self._pins[key] = pin = pin_of(image, name)
        say(f"image {name} is {pin}")
        return str(image["Id"])

    async def _pinned(self, spec: Function, key: str, say: Say) -> dict[str, Any] | None:
        """The image that this spec runs already."""
        pin = self._pins.get(key)
        if pin is not None:
            found = await self._engine.image(pin)
            if found is None and "@" in pin:  # somebody has tidied the engine up
                found = await self._pulled(pin, spec, say)
            if found is not None:
                return found
        for row in await self._engine.labelled(SPEC_LABEL, key):
            if row["Labels"].get(OWNER_LABEL) == self._owner:
                return await self._engine.image(row["ImageID"])
        return None

    async def _resolved(self, spec: Function, name: str, say: Say) -> dict[str, Any]:
        """The image that the name means now."""
        here = await self._engine.image(name)
        is_id = _IMAGE_ID.fullmatch(name) is not None
        if here is not None and (is_id or "@" in name):
            return here
        if is_id:
            raise RuntimeFailed(f"the engine has no image {name}, and an image id cannot be pulled")
        try:
            return await self._pulled(name, spec, say)
        except EngineRefused as error:
            # Wrong credentials are told, not passed over: who gave them wants them to be right.
            is_owed = error.kind is Kind.DENIED and login_of(spec) is not None
            if here is None or error.kind not in _USE_LOCAL or is_owed:
                raise
            say(f"the image that the engine has is used: {error.reason}")
            return here

    async def _pulled(self, name: str, spec: Function, say: Say) -> dict[str, Any]:
        login = login_of(spec)
        source = registry_name(name) if login else name
        layers: dict[str, str] = {}
        shown = ""
        say(f"pulling image {name}")
        async with aclosing(self._engine.pull(source, login)) as lines:
            async for line in lines:
                layer, state = str(line.get("id", "")), str(line.get("status", ""))
                if layer and "from" not in state:  # the first line is about the tag
                    layers[layer] = state
                now = progress(layers, name) if layers else ""
                if now != shown:
                    say(now)
                    shown = now
        found = await self._engine.image(source)
        if found is None:
            raise RuntimeFailed(f"image {name} was pulled and the engine does not have it")
        return found
