"""Containers: made, started, waited for, changed in place where Docker can, and removed.

Owns: the life of a container. Promises: a container that could not be started is not left behind; one that
runs and is not healthy is kept and reported as not ready; delete of what is gone succeeds. Never: stops a
container to look at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import aiodocker

from tickover.engine.provider import (
    CreateRequest,
    CreateResult,
    DeleteRequest,
    InitFailed,
    ReadRequest,
    ReadResult,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import UNKNOWN, PropertyMap, reveal
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import container_body, container_read, faults
from tickover.provider.docker.fields import without_defaults
from tickover.provider.docker.handler import Handler, gone, name_taken, plain
from tickover.provider.docker.images import local, local_or_pulled
from tickover.provider.docker.run import Run, inspect
from tickover.provider.docker.tables import CONTAINER

_SETTLE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.25
_LOG_LINES: Final = 10
_GONE_LOOKS: Final = 60
_CONFLICT: Final = 409
# `docker update` cannot take these away again, so taking them away makes a new container.
_LIMITS: Final = frozenset(
    {"memory", "memoryReservation", "memorySwap", "cpuShares", "cpuSet", "cpuPeriod", "cpuQuota"}
)


class ContainerHandler(Handler):
    resource = CONTAINER
    noun = "container"
    computed: ClassVar[tuple[str, ...]] = tuple(
        n for n in container_read.COMPUTED if n not in ("exitCode", "containerLogs")
    )
    fixed: ClassVar[tuple[str, ...]] = computed
    replaces_first: ClassVar[bool] = True

    def must_replace(self, name: str, old: PropertyMap, new: PropertyMap, outputs: PropertyMap) -> bool:
        """As pulumi-docker, and: a container that must run and does not is made anew, pristine."""
        if name in _LIMITS:
            return not reveal(new.get(name))
        if name == "mustRun":
            return bool(new.get("mustRun")) and "exitCode" in outputs
        return super().must_replace(name, old, new, outputs)

    def preview(self, news: PropertyMap, old_outputs: PropertyMap | None = None) -> PropertyMap:
        """Image names become ids, and ports without a host port get one: neither is known before."""
        outputs = super().preview(news, old_outputs)
        old = old_outputs or {}
        if not str(reveal(news.get("image"))).startswith("sha256:"):
            outputs["image"] = old.get("image", UNKNOWN)
        ports = reveal(news.get("ports"))
        if isinstance(ports, list) and not all(isinstance(p, dict) and p.get("external") for p in ports):
            outputs["ports"] = old.get("ports", UNKNOWN)
        return outputs

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        await local_or_pulled(run, inputs["image"])
        container = await self._make(run, inputs)
        try:
            for joined in (inputs.get("networksAdvanced") or [])[1:]:
                body = {"Container": container.id, "EndpointConfig": container_body.endpoint(joined)}
                await (await run.api.networks.get(joined["name"])).connect(body)
            if inputs["start"]:
                await self._start(run, container, inputs)
            shown = await inspect(container.show())
        except BaseException:  # cancellation too: a container that was never handed over is not left behind
            await asyncio.shield(_discard(container))
            raise
        if shown is None:  # rm, and its work is done
            return CreateResult(container.id, without_defaults(request.news))
        await self._healthy(run, container, shown, request.news)
        outputs = container_read.outputs(request.news, await inspect(container.show()) or shown)
        return CreateResult(container.id, outputs)

    async def _make(self, run: Run, inputs: Mapping[str, Any]) -> Any:
        body = container_body.create_body(inputs)
        try:
            return await run.api.containers.create(body, name=inputs["name"])
        except aiodocker.DockerError as error:
            other = await _show(run, inputs["name"]) if error.status == _CONFLICT else None
            if other is None:
                raise
            state = other["State"].get("Status", "there")
            detail = (
                f"Container {inputs['name']} is there already: {other['Id'][:12]} of image "
                f"{other['Config']['Image']}, {state}."
            )
            raise name_taken(run.what, detail, self.token, other["Id"][:12]) from error

    async def _start(self, run: Run, container: Any, inputs: Mapping[str, Any]) -> None:
        """Start it, and see that it stays up if it must. Raises TickoverError."""
        run.say(f"starting {run.what}")
        try:
            await container.start()
        except aiodocker.DockerError as error:
            found = run.explain(error.status, error.message)
            if found.code == "port-taken":
                holders = await _port_holders(run, inputs.get("ports") or ())
                found.detail += f" {holders}" if holders else ""
            raise found from error
        if not inputs["mustRun"]:
            return
        await run.sleep(_SETTLE_SECONDS)
        shown = await inspect(container.show())
        if shown is None or not container_read.is_up(shown):
            raise await self._ended(run, container, shown)

    async def _ended(self, run: Run, container: Any, shown: Mapping[str, Any] | None) -> TickoverError:
        said = await _last_lines(container) if shown is not None else ""
        code = f" with code {shown['State'].get('ExitCode')}" if shown is not None else ""
        lines = faults.scrub(said, run.hidden)
        return TickoverError(
            "container-ended",
            "Container ended at once",
            f"{run.what.capitalize()} must run and ended{code}. It was removed again."
            + (f" Its last lines:\n{lines}" if lines else " It wrote nothing."),
            run.what,
            "must_run=False accepts a container that ends",
            Exit.RESOURCE,
        )

    async def _healthy(self, run: Run, container: Any, shown: Mapping[str, Any], inputs: PropertyMap) -> None:
        """Wait for the healthcheck if ``wait`` says so. Raises InitFailed: the container is kept."""
        asked = plain(inputs)
        if not asked["wait"] or not asked["start"]:
            return
        try:
            reason = await self._unhealthy(run, container, float(asked["waitTimeout"]))
        except asyncio.CancelledError:
            if not run.cancelled.is_set():
                raise
            reason = "Waiting for it to be healthy was cancelled."
        if reason:
            last = await inspect(container.show()) or shown
            outputs = container_read.outputs(inputs, last)
            raise InitFailed(container.id, outputs, (faults.scrub(reason, run.hidden),), inputs)

    async def _unhealthy(self, run: Run, container: Any, seconds: float) -> str:
        """Why it did not become healthy; empty once it is."""
        shown, waited = await inspect(container.show()), 0.0
        while True:
            state = shown["State"] if shown is not None else {}
            health = state.get("Health") or {}
            status = str(health.get("Status") or "")
            if shown is None or not container_read.is_up(shown):
                return f"{run.what.capitalize()} ended before it was healthy."
            if not status or status == "none":
                return f"{run.what.capitalize()} has no healthcheck, so wait cannot be true."
            if status == "healthy":
                return ""
            if waited >= seconds:
                probe = (health.get("Log") or [{}])[-1]
                said = str(probe.get("Output") or "").strip()
                tail = f" Its last check said: {said}" if said else ""
                return f"{run.what.capitalize()} is {status} after {seconds:g} s.{tail}"
            run.say(f"waiting for {run.what} to be healthy: {status}")
            await run.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS
            shown = await inspect(container.show())

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        shown = await _show(run, request.id)
        if shown is None:
            return gone()
        if request.inputs:
            declared = await local(run, str(reveal(request.inputs.get("image")) or shown["Image"]))
            ids = frozenset({declared["Id"]}) if declared else frozenset[str]()
            inputs = container_read.drifted(request.inputs, shown, ids)
        else:
            inputs = container_read.imported(shown, await local(run, shown["Image"]) or {})
        return ReadResult(shown["Id"], container_read.outputs(inputs, shown), inputs)

    async def update(self, run: Run, request: UpdateRequest) -> UpdateResult:
        """Limits and the restart policy move in the engine; the rest is how tickover treats it."""
        inputs = plain(request.news)
        container = run.api.containers.container(request.id)
        shown = await container.show()
        # aiodocker has no call for it.
        await run.api._query_json(
            f"containers/{request.id}/update", "POST", data=container_body.update_body(inputs, shown)
        )
        if inputs["start"] and inputs["mustRun"] and not container_read.is_up(shown):
            await self._restarted(run, container, request.news)
        shown = await container.show()
        await self._healthy(run, container, shown, request.news)
        return UpdateResult(container_read.outputs(request.news, shown))

    async def _restarted(self, run: Run, container: Any, news: PropertyMap) -> None:
        await container.start()
        await run.sleep(_SETTLE_SECONDS)
        shown = await container.show()
        if not container_read.is_up(shown):
            code = shown["State"].get("ExitCode")
            reason = f"{run.what.capitalize()} must run and ended with code {code}."
            raise InitFailed(container.id, container_read.outputs(news, shown), (reason,), news)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        inputs = plain(request.inputs or request.outputs)
        container = run.api.containers.container(request.id)
        grace = inputs.get("destroyGraceSeconds") or 0
        try:
            if grace > 0:
                run.say(f"stopping {run.what}, at most {grace} s")
                await container.stop(t=grace)
            await container.delete(force=True, v=inputs.get("removeVolumes", True))
        except aiodocker.DockerError as error:
            if error.status == 404:
                return
            if error.status != _CONFLICT or "already in progress" not in error.message:
                raise
        for _ in range(_GONE_LOOKS):
            if await inspect(container.show()) is None:
                return
            await run.sleep(_POLL_SECONDS)
        raise TickoverError(
            "still-there",
            "Deletion did not finish",
            f"{run.what.capitalize()} is still there after it was removed.",
            run.what,
            f"docker rm -f {request.id[:12]}",
            Exit.TIMEOUT,
        )


async def _show(run: Run, id: str) -> dict[str, Any] | None:
    return await inspect(run.api.containers.container(id).show())


async def _discard(container: Any) -> None:
    try:
        await container.delete(force=True, v=True)
    except aiodocker.DockerError as error:
        if error.status not in (404, _CONFLICT):  # gone, or going already
            raise


async def _last_lines(container: Any) -> str:
    lines = await container.log(stdout=True, stderr=True, tail=_LOG_LINES)
    return "".join(lines).rstrip()


async def _port_holders(run: Run, ports: Any) -> str:
    """Which containers hold one of the host ports, as a sentence; empty if no container does."""
    wanted = {p.get("external") for p in ports} - {None, 0}
    held: list[str] = []
    for other in await run.api.containers.list():
        numbers = sorted({p.get("PublicPort") for p in other["Ports"]} & wanted)
        name = str(other["Names"][0]).lstrip("/")
        held += [f"Port {n} belongs to container {name}." for n in numbers]
    return " ".join(held)
