"""Images: pulled, tagged and pushed.

Owns: RemoteImage, Tag, RegistryImage and the pull that containers use too. Promises: an image that a
resource of this operation made under the same name is not deleted with its predecessor. Never: builds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import aiodocker

from tickover.engine.provider import (
    CreateRequest,
    CreateResult,
    DeleteRequest,
    ReadRequest,
    ReadResult,
    Severity,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import PropertyMap, reveal
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import registry
from tickover.provider.docker.config import Login, login_of
from tickover.provider.docker.fields import without_defaults
from tickover.provider.docker.handler import Handler, gone, plain
from tickover.provider.docker.names import HUB, parse, same_repository
from tickover.provider.docker.run import Run, inspect
from tickover.provider.docker.storage import users_of
from tickover.provider.docker.tables import REGISTRY_IMAGE, REMOTE_IMAGE, TAG

_IMAGE_ID: Final = re.compile(r"(sha256:)?[0-9a-f]{64}")
_IN_USE: Final = 409


async def local(run: Run, name: str) -> dict[str, Any] | None:
    """The image as the engine has it; None if it has none."""
    return await inspect(run.api.images.inspect(name))


async def local_or_pulled(run: Run, name: str, platform: str = "") -> dict[str, Any]:
    """The image, pulled if the engine has none. Raises TickoverError."""
    found = await local(run, name)
    if found is None:
        if _IMAGE_ID.fullmatch(name):
            raise _no_image(run, name, "An image id cannot be pulled.")
        found = await pulled(run, name, platform)
    return found


async def pulled(run: Run, name: str, platform: str = "") -> dict[str, Any]:
    """Pull the image now."""
    image = parse(name)
    login = run.daemon.login_for(name)
    source = image.full if image.registry == HUB or login else name
    say = f"pulling {name}"
    run.say(say)
    lines = run.api.images.pull(
        source, auth=login.auth if login else None, platform=platform or None, stream=True
    )
    await _follow(run, lines, say)
    found = await local(run, name)
    if found is None:
        raise _no_image(run, name, "It was pulled and is not there.")
    return found


async def _follow(run: Run, lines: AsyncIterator[Mapping[str, Any]], say: str) -> str:
    """Show the engine's progress as it changes; the digest that it tells at the end of a push."""
    layers: dict[str, str] = {}
    shown = digest = ""
    async for line in lines:
        status, layer = str(line.get("status", "")), str(line.get("id", ""))
        if layer and status:
            layers[layer] = status
        done = sum(s in _LAYER_DONE for s in layers.values())
        now = f"{say}: {done} of {len(layers)} layers" if layers else f"{say}: {status}"
        if now != shown:
            shown = now
            run.say(now)
        digest = str((line.get("aux") or {}).get("Digest", "")) or digest
    return digest


_LAYER_DONE: Final = frozenset({"Pull complete", "Already exists", "Pushed", "Layer already exists"})


def _no_image(run: Run, name: str, why: str) -> TickoverError:
    return TickoverError(
        "image-not-found",
        "Image not found",
        f"{run.what.capitalize()}: the engine has no image {name}. {why}",
        run.what,
        "docker images",
        Exit.RESOURCE,
    )


class RemoteImageHandler(Handler):
    resource = REMOTE_IMAGE
    noun = "image"
    computed: ClassVar[tuple[str, ...]] = ("imageId", "repoDigest")
    fixed: ClassVar[tuple[str, ...]] = computed

    def __init__(self) -> None:
        # Names that this operation pulled: a predecessor of the same name leaves them alone.
        self._made: set[str] = set()

    def same_name(self, old: PropertyMap, new: PropertyMap) -> bool:
        """Two declarations of one image do not hinder each other."""
        return False

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        name, platform = inputs["name"], inputs.get("platform") or ""
        get = pulled if inputs.get("pullTriggers") else local_or_pulled
        image = await get(run, name, platform)
        self._made.add(name)
        return CreateResult(
            f"{image['Id']}{name}", {**without_defaults(request.news), **image_outputs(image, name)}
        )

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        name = reveal(request.inputs.get("name")) or re.sub(r"^sha256:[0-9a-f]{64}(?=.)", "", request.id)
        image = await local(run, name)
        if image is None:
            return gone()
        inputs = request.inputs or {"name": name}
        return ReadResult(
            f"{image['Id']}{name}", {**without_defaults(inputs), **image_outputs(image, name)}, inputs
        )

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        inputs = plain(request.inputs or request.outputs)
        name = inputs.get("name") or ""
        if inputs.get("keepLocally") or not name or name in self._made or await local(run, name) is None:
            return
        try:
            await run.api.images.delete(name, force=bool(inputs.get("forceRemove")))
        except aiodocker.DockerError as error:
            if error.status == 404:
                return
            users = await users_of(run, {"ancestor": [name]}) if error.status == _IN_USE else ""
            if not users:
                raise
            raise TickoverError(
                "still-in-use",
                "Still in use",
                f"{run.what.capitalize()} cannot be removed: {users} was made from it. keep_locally=True "
                "leaves it there.",
                run.what,
                f"docker rm -f {users.replace(',', '')}",
                Exit.RESOURCE,
            ) from error


def image_outputs(image: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What programs ask of an image: its id, and the digest under which its registry knows it."""
    digests = [d for d in image.get("RepoDigests") or () if same_repository(d, name)]
    return {"imageId": image["Id"], "repoDigest": digests[0] if digests else ""}


def _cannot_import(run: Run, noun: str, why: str) -> TickoverError:
    return TickoverError(
        "cannot-import",
        "Cannot be imported",
        f"A {noun} cannot be imported: {why}. Declare it instead; making it again changes nothing.",
        run.what,
        exit_code=Exit.CONFIGURATION,
    )


class TagHandler(Handler):
    resource = TAG
    noun = "tag"
    computed: ClassVar[tuple[str, ...]] = ("sourceImageId",)
    fixed: ClassVar[tuple[str, ...]] = computed

    def describe(self, inputs: Mapping[str, Any], id: str = "") -> str:
        target = reveal(inputs.get("targetImage"))
        return f"tag {target if isinstance(target, str) else id}".strip()

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        source, target = inputs["sourceImage"], inputs["targetImage"]
        image = await local(run, source)
        if image is None:
            raise _no_image(run, source, "A RemoteImage or `docker pull` brings it.")
        repository, _, tag = _cut(target)
        await run.api.images.tag(source, repository, tag=tag)
        return CreateResult(
            f"{source}.{target}", {**without_defaults(request.news), "sourceImageId": image["Id"]}
        )

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        """A tag that is gone, or means another image now, is made again by the next deployment."""
        if not request.inputs:
            raise _cannot_import(run, "Tag", "Docker does not remember from which name a tag was made")
        image = await local(run, str(reveal(request.inputs["targetImage"])))
        recorded = reveal(request.outputs.get("sourceImageId"))
        if image is None or (recorded and image["Id"] != recorded):
            return gone()
        outputs = {**without_defaults(request.inputs), "sourceImageId": image["Id"]}
        return ReadResult(request.id, outputs, request.inputs)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        """As pulumi-docker has it, neither name is removed."""


def _cut(target: str) -> tuple[str, str, str]:
    """repository, colon, tag of a target as it is written."""
    repository, colon, tag = target.rpartition(":")
    return (repository, colon, tag) if colon and "/" not in tag else (target, "", "latest")


class RegistryImageHandler(Handler):
    resource = REGISTRY_IMAGE
    noun = "registry image"
    computed: ClassVar[tuple[str, ...]] = ("sha256Digest",)
    fixed: ClassVar[tuple[str, ...]] = computed

    def __init__(self) -> None:
        # (name, digest) that this operation pushed: a predecessor leaves them in the registry.
        self._made: set[tuple[str, str]] = set()

    def same_name(self, old: PropertyMap, new: PropertyMap) -> bool:
        """A push over a tag needs nothing removed first."""
        return False

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        name, login = inputs["name"], _login(run, inputs)
        if await local(run, name) is None:
            raise _no_image(run, name, "An image must be there under that name before it can be pushed.")
        image = parse(name)
        source = image.full if image.registry == HUB and login else name
        say = f"pushing {name}"
        run.say(say)
        lines = run.api.images.push(source, auth=login.auth if login else None, stream=True)
        digest = await _follow(run, lines, say) or await self._digest(run, inputs)
        if not digest:
            raise _no_image(run, name, "It was pushed and the registry does not have it.")
        self._made.add((name, digest))
        return CreateResult(digest, {**without_defaults(request.news), "sha256Digest": digest})

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        if not request.inputs:
            raise _cannot_import(run, "RegistryImage", "its id does not say in which registry it is")
        digest = await self._digest(run, plain(request.inputs))
        if digest is None:
            return gone()
        outputs = {**without_defaults(request.inputs), "sha256Digest": digest}
        return ReadResult(request.id, outputs, request.inputs)

    async def update(self, run: Run, request: UpdateRequest) -> UpdateResult:
        digest = await self._digest(run, plain(request.news))
        if digest is None:
            run.say(
                f"{run.what} is not in its registry any more; refresh to push it again",
                severity=Severity.WARNING,
                ephemeral=False,
            )
            digest = reveal(request.old_outputs.get("sha256Digest")) or ""
        return UpdateResult({**without_defaults(request.news), "sha256Digest": digest})

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        inputs = plain(request.inputs or request.outputs)
        known = str(reveal(request.outputs.get("sha256Digest")) or request.id)
        if inputs.get("keepRemotely") or (inputs["name"], known) in self._made:
            return
        verify = not inputs.get("insecureSkipVerify")
        await registry.remove(parse(inputs["name"]), known, _login(run, inputs), verify=verify)

    async def _digest(self, run: Run, inputs: Mapping[str, Any]) -> str | None:
        verify = not inputs.get("insecureSkipVerify")
        return await registry.digest(parse(inputs["name"]), _login(run, inputs), verify=verify)


def _login(run: Run, inputs: Mapping[str, Any]) -> Login | None:
    given = inputs.get("authConfig")
    return login_of(given) if given else run.daemon.login_for(inputs["name"])
