"""Volumes and networks: made once, never changed, removed when nothing uses them.

Owns: their calls. Promises: a volume that is there already is never taken over silently, since deleting it
later would delete somebody's data. Never: removes what a container uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import aiodocker

from tickover.engine.provider import (
    CreateRequest,
    CreateResult,
    DeleteRequest,
    ReadRequest,
    ReadResult,
)
from tickover.errors import TickoverError
from tickover.provider.docker.fields import without_defaults
from tickover.provider.docker.handler import Handler, gone, labels_list, labels_map, name_taken, plain, told
from tickover.provider.docker.run import Run, inspect
from tickover.provider.docker.tables import NETWORK, VOLUME

_RELEASE_PAUSE_SECONDS: Final = 0.5
_RELEASE_LOOKS: Final = 60
_IN_USE: Final = 409


async def users_of(run: Run, filters: Mapping[str, list[str]]) -> str:
    """The containers that filters find, for a sentence; empty if there are none."""
    import json

    found = await run.api.containers.list(all=True, filters=json.dumps(filters))
    return ", ".join(sorted(str(c["Names"][0]).lstrip("/") for c in found if c["Names"]))


class VolumeHandler(Handler):
    resource = VOLUME
    noun = "volume"
    computed: ClassVar[tuple[str, ...]] = ("driver", "mountpoint")
    fixed: ClassVar[tuple[str, ...]] = ("driver", "mountpoint")

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        name = inputs["name"]
        if await self._show(run, name) is not None:
            raise name_taken(run.what, f"There is a volume {name} on the engine already.", self.token, name)
        body = {
            "Name": name,
            "Driver": inputs.get("driver"),
            "DriverOpts": inputs.get("driverOpts"),
            "Labels": labels_map(inputs.get("labels")),
        }
        await run.api.volumes.create(told(body))
        shown = await self._show(run, name) or {}
        return CreateResult(name, {**without_defaults(request.news), **_volume_outputs(shown)})

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        shown = await self._show(run, request.id)
        if shown is None:
            return gone()
        inputs = request.inputs or {
            "name": shown["Name"],
            **told(
                {
                    "driver": shown["Driver"],
                    "driverOpts": shown.get("Options"),
                    "labels": labels_list(shown.get("Labels")),
                }
            ),
        }
        return ReadResult(shown["Name"], {**without_defaults(inputs), **_volume_outputs(shown)}, inputs)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        volume = run.api.volumes
        if await self._show(run, request.id) is None:
            return
        try:
            await (await volume.get(request.id)).delete()
        except aiodocker.DockerError as error:
            if error.status == 404:
                return
            users = await users_of(run, {"volume": [request.id]}) if error.status == _IN_USE else ""
            if not users:
                raise
            raise _still_used(run, users) from error

    async def _show(self, run: Run, name: str) -> dict[str, Any] | None:
        async def call() -> dict[str, Any]:
            shown: dict[str, Any] = await (await run.api.volumes.get(name)).show()
            return shown

        return await inspect(call())


def _volume_outputs(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {"driver": shown.get("Driver", ""), "mountpoint": shown.get("Mountpoint", "")}


def _still_used(run: Run, users: str) -> TickoverError:
    return TickoverError(
        "still-in-use",
        "Still in use",
        f"{run.what.capitalize()} cannot be removed: {users} uses it.",
        run.what,
        f"docker rm -f {users.replace(',', '')}",
    )


class NetworkHandler(Handler):
    resource = NETWORK
    noun = "network"
    computed: ClassVar[tuple[str, ...]] = ("driver", "internal", "ipamConfigs", "options", "scope")
    fixed: ClassVar[tuple[str, ...]] = computed

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        inputs = plain(request.news)
        try:
            made = await run.api.networks.create(network_body(inputs))
        except aiodocker.DockerError as error:
            other = await self._show(run, inputs["name"]) if error.status == _IN_USE else None
            if other is None:
                raise
            detail = f"There is a network {inputs['name']} on the engine already."
            raise name_taken(run.what, detail, self.token, other["Id"]) from error
        shown = await made.show()
        return CreateResult(made.id, {**without_defaults(request.news), **network_outputs(shown)})

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        shown = await self._show(run, request.id)
        if shown is None:
            return gone()
        outputs = network_outputs(shown)
        inputs = request.inputs or {
            "name": shown["Name"],
            **told(
                {
                    **{k: outputs[k] for k in ("driver", "internal", "ipamConfigs", "options")},
                    "attachable": shown.get("Attachable"),
                    "ipv6": shown.get("EnableIPv6"),
                    "ipamDriver": shown["IPAM"].get("Driver"),
                    "labels": labels_list(shown.get("Labels")),
                }
            ),
        }
        return ReadResult(shown["Id"], {**without_defaults(inputs), **outputs}, inputs)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        """A container that has just ended holds its place for a moment: that is waited for."""
        for look in range(_RELEASE_LOOKS):
            shown = await self._show(run, request.id)
            if shown is None:
                return
            users = ", ".join(sorted(c["Name"] for c in (shown.get("Containers") or {}).values()))
            try:
                await (await run.api.networks.get(request.id)).delete()
                return
            except aiodocker.DockerError as error:
                if error.status == 404:
                    return
                if "active endpoints" not in error.message:
                    raise
                if look == _RELEASE_LOOKS - 1:
                    raise _still_used(run, users) from error
            run.say(f"waiting for {users or 'its containers'} to leave {run.what}")
            await run.sleep(_RELEASE_PAUSE_SECONDS)

    async def _show(self, run: Run, id: str) -> dict[str, Any] | None:
        async def call() -> dict[str, Any]:
            shown: dict[str, Any] = await (await run.api.networks.get(id)).show()
            return shown

        return await inspect(call())


def network_body(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's form of a network's inputs."""
    ipam = told(
        {
            "Driver": inputs.get("ipamDriver"),
            "Options": inputs.get("ipamOptions"),
            "Config": [
                told(
                    {
                        "Subnet": c.get("subnet"),
                        "IPRange": c.get("ipRange"),
                        "Gateway": c.get("gateway"),
                        "AuxiliaryAddresses": c.get("auxAddress"),
                    }
                )
                for c in inputs.get("ipamConfigs") or ()
            ],
        }
    )
    return {
        "Name": inputs["name"],
        # Older engines would make a second network of the same name.
        "CheckDuplicate": True,
        **told(
            {
                "Driver": inputs.get("driver"),
                "Internal": inputs.get("internal"),
                "Attachable": inputs.get("attachable"),
                "EnableIPv6": inputs.get("ipv6"),
                "Options": inputs.get("options"),
                "Labels": labels_map(inputs.get("labels")),
                "IPAM": ipam,
            }
        ),
    }


def network_outputs(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine says about a network."""
    configs = (shown.get("IPAM") or {}).get("Config") or ()
    return {
        "driver": shown.get("Driver", ""),
        "internal": bool(shown.get("Internal")),
        "options": dict(shown.get("Options") or {}),
        "scope": shown.get("Scope", ""),
        "ipamConfigs": [
            told(
                {
                    "subnet": c.get("Subnet"),
                    "ipRange": c.get("IPRange"),
                    "gateway": c.get("Gateway"),
                    "auxAddress": c.get("AuxiliaryAddresses"),
                }
            )
            for c in configs
        ],
    }
