"""The functions of the docker provider: what is on the engine, as a program asks for it.

Owns: getRemoteImage, getRegistryImage, getNetwork and getLogs. Promises: they change nothing. Never: are
called with unknown arguments.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from tickover.engine.provider import CheckFailure, InvokeResult
from tickover.engine.values import PropertyMap, reveal
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import registry
from tickover.provider.docker.fields import needs_plugin
from tickover.provider.docker.images import image_outputs, local
from tickover.provider.docker.names import parse
from tickover.provider.docker.run import Run, inspect
from tickover.provider.docker.storage import network_outputs

Answer = Mapping[str, Any]
_ANSI: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


async def invoke(run: Run, token: str, args: PropertyMap) -> InvokeResult:
    """The function's outputs. Raises TickoverError."""
    function = FUNCTIONS.get(token)
    if function is None:
        raise TickoverError(
            "not-covered",
            "Function not covered",
            needs_plugin(f"function {token}"),
            token,
            exit_code=Exit.CONFIGURATION,
        )
    plain = {k: v for k, v in reveal(args).items() if v is not None}
    if not isinstance(plain.get("name"), str) or not plain["name"]:
        return InvokeResult({}, (CheckFailure("name", f"{token} needs a name."),))
    return InvokeResult({**dict(await function(run, plain)), "name": plain["name"]})


async def _remote_image(run: Run, args: Answer) -> Answer:
    image = await local(run, args["name"])
    if image is None:
        raise _missing(f"image {args['name']}", f"docker pull {args['name']}")
    found = image_outputs(image, args["name"])
    return {"id": image["Id"], "repoDigest": found["repoDigest"]}


async def _registry_image(run: Run, args: Answer) -> Answer:
    name = args["name"]
    verify = not args.get("insecureSkipVerify")
    found = await registry.digest(parse(name), run.daemon.login_for(name), verify=verify)
    if found is None:
        raise _missing(f"image {name} in its registry", f"docker push {name}")
    return {"id": found, "sha256Digest": found, "insecureSkipVerify": not verify}


async def _network(run: Run, args: Answer) -> Answer:
    async def call() -> dict[str, Any]:
        shown: dict[str, Any] = await (await run.api.networks.get(args["name"])).show()
        return shown

    shown = await inspect(call())
    if shown is None:
        raise _missing(f"network {args['name']}", "docker network ls")
    return {"id": shown["Id"], **network_outputs(shown)}


async def _logs(run: Run, args: Answer) -> Answer:
    if args.get("follow"):
        raise TickoverError(
            "not-covered",
            "Function not covered",
            needs_plugin("getLogs with follow", "it would hold the deployment"),
            "getLogs",
            exit_code=Exit.CONFIGURATION,
        )
    container = run.api.containers.container(args["name"])
    if await inspect(container.show()) is None:
        raise _missing(f"container {args['name']}", "docker ps -a")
    options = {k: args[k] for k in ("since", "until", "tail", "timestamps", "details") if args.get(k)}
    lines: list[str] = []
    if not args.get("logsListStringEnabled") and "logsListStringEnabled" in args:
        return {**args, "id": args["name"], "logsListStrings": lines}
    # Without a choice Docker wants both streams.
    out, err = bool(args.get("showStdout", True)), bool(args.get("showStderr", True))
    if out or err:
        text = "".join(await container.log(stdout=out, stderr=err, **options))
        lines = [_ANSI.sub("", line) if args.get("discardHeaders", True) else line for line in _lines(text)]
    return {**args, "id": args["name"], "logsListStrings": lines}


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def _missing(what: str, hint: str) -> TickoverError:
    return TickoverError("not-found", "Not found", f"The engine has no {what}.", what, hint, Exit.RESOURCE)


FUNCTIONS: Final[Mapping[str, Callable[[Run, Answer], Awaitable[Answer]]]] = {
    "docker:index/getRemoteImage:getRemoteImage": _remote_image,
    "docker:index/getRegistryImage:getRegistryImage": _registry_image,
    "docker:index/getNetwork:getNetwork": _network,
    "docker:index/getLogs:getLogs": _logs,
}
