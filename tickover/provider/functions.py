"""Functions, their versions and aliases.

Owns: those three handlers. Promises: a function is done when FC says Active and Successful, an alias when
the pool behind it runs the new version. Never: retries by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tickover.engine.provider import CheckFailure, DeleteRequest, UpdateRequest
from tickover.engine.values import PropertyMap, reveal
from tickover.fc.alias import Alias
from tickover.fc.errors import FcError
from tickover.fc.function import Function
from tickover.fc.version import FunctionVersion
from tickover.provider.faults import is_missing
from tickover.provider.handler import Handler
from tickover.provider.pools import look_at_pool
from tickover.provider.run import Poll, Run

_PROCESS: Final = "process://"
_OWN_NAS: Final = ("local:", "volume:")


class FunctionHandler(Handler):
    """tickover:fc:Function."""

    token = "tickover:fc:Function"
    noun = "function"
    model = Function
    ids = ("functionName",)
    replaces = frozenset({"functionName", "resourceGroupId"})
    stable = ("functionArn", "functionId", "createdTime")
    volatile = ("state", "lastUpdateStatus", "lastModifiedTime")
    create_operation = "create_function"
    get_operation = "get_function"
    update_operation = "update_function"
    delete_operation = "delete_function"

    def only_on_host(self, known: Mapping[str, Any]) -> tuple[CheckFailure, ...]:
        found = []
        container = reveal(known.get("customContainerConfig"))
        if isinstance(container, Mapping) and str(container.get("image", "")).startswith(_PROCESS):
            message = (
                f"{_PROCESS}… is for a host only: Function Compute runs images. Name one in its registry."
            )
            found.append(CheckFailure("customContainerConfig.image", message))
        nas = reveal(known.get("nasConfig"))
        points = (nas.get("mountPoints") if isinstance(nas, Mapping) else None) or ()
        for number, point in enumerate(points):
            address = str(point.get("serverAddr", "")) if isinstance(point, Mapping) else ""
            if address.startswith(_OWN_NAS):
                message = (
                    f"{address} is for a host only: Function Compute mounts a NAS by its mount target, "
                    "<mount target>:/path."
                )
                found.append(CheckFailure(f"nasConfig.mountPoints[{number}].serverAddr", message))
        return tuple(found)

    async def change(self, run: Run, request: UpdateRequest) -> dict[str, Any]:
        await self._change_tags(run, request)
        return await super().change(run, request)

    async def _change_tags(self, run: Run, request: UpdateRequest) -> None:
        """FC takes tags with the function only at creation; later they have calls of their own."""
        old, new = (_tags(i) for i in (request.old_inputs, request.news))
        arn = str(request.old_outputs.get("functionArn", ""))
        changed = {key: value for key, value in new.items() if old.get(key) != value}
        gone = sorted(old.keys() - new.keys())
        if changed:
            body = {
                "resourceType": "function",
                "resourceId": [arn],
                "tag": [{"Key": key, "Value": value} for key, value in sorted(changed.items())],
            }
            await run.call("tag_resources", body=body)
        if gone:
            await run.call("untag_resources", resource_type="function", resource_id=[arn], tag_key=gone)

    async def settle(self, run: Run, id: str, inputs: PropertyMap, answer: dict[str, Any]) -> dict[str, Any]:
        first: list[dict[str, Any]] = [answer]  # the answer to the call itself is the first look

        async def look() -> Poll:
            seen = first.pop() if first else await run.call("get_function", id)
            return _function_poll(id, seen)

        return await run.until(look)

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        try:
            await self._delete_versions(run, request.id)
        except FcError as error:
            if not is_missing(error):
                raise
            return
        await super().delete(run, request)

    async def _delete_versions(self, run: Run, name: str) -> None:
        """Versions that nobody manages (published by hand, or left by a run cut short)."""
        for version in await all_versions(run, name):
            run.say(f"removing version {version['versionId']}")
            try:
                await run.call("delete_function_version", name, str(version["versionId"]))
            except FcError as error:
                if not is_missing(error):
                    raise


def _tags(inputs: PropertyMap) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in reveal(inputs.get("tags")) or ():
        found[str(tag.get("key", tag.get("Key")))] = str(tag.get("value", tag.get("Value", "")))
    return found


def _function_poll(name: str, seen: dict[str, Any]) -> Poll:
    """state, lastUpdateStatus → done, waiting or failed. Older API versions leave both out."""
    state = seen.get("state") or "Active"
    update = seen.get("lastUpdateStatus") or "Successful"
    if state == "Failed":
        why = seen.get("stateReason") or seen.get("stateReasonCode") or "no reason given"
        return Poll(False, seen, failed=f"Function {name} failed: {why}")
    if update == "Failed":
        why = (
            seen.get("lastUpdateStatusReason") or seen.get("lastUpdateStatusReasonCode") or "no reason given"
        )
        return Poll(False, seen, failed=f"The update of function {name} failed: {why}")
    done = state in ("Active", "Inactive") and update == "Successful"
    return Poll(done, seen, f"function is {state}, its update {update}")


async def all_versions(run: Run, function_name: str) -> list[dict[str, Any]]:
    """Every published version, newest first."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        answer = await run.call(
            "list_function_versions", function_name, direction="BACKWARD", limit=100, next_token=token
        )
        found += answer.get("versions") or []
        token = answer.get("nextToken")
        if not token:
            return found


class FunctionVersionHandler(Handler):
    """tickover:fc:FunctionVersion: published by create, never updated."""

    token = "tickover:fc:FunctionVersion"
    noun = "version"
    model = FunctionVersion
    ids = ("functionName", "versionId")
    replaces = None
    stable = ("versionId", "createdTime", "lastModifiedTime")
    create_operation = "publish_function_version"
    get_operation = "list_function_versions"
    delete_operation = "delete_function_version"

    def must_delete_first(self, old: PropertyMap, new: PropertyMap) -> bool:
        return False  # the number of a new version is always new

    async def make(self, run: Run, inputs: PropertyMap) -> tuple[str, dict[str, Any]]:
        name = str(reveal(inputs["functionName"]))
        answer = await run.call(self.create_operation, name, body=self.body(inputs))
        return f"{name}/{answer['versionId']}", answer

    async def get(self, run: Run, id: str) -> dict[str, Any] | None:
        name, number = id.split("/")
        try:
            versions = await all_versions(run, name)
        except FcError as error:
            if is_missing(error):
                return None
            raise
        return next((v for v in versions if str(v.get("versionId")) == number), None)


class AliasHandler(Handler):
    """tickover:fc:Alias: moving it waits until its pool runs the new version."""

    token = "tickover:fc:Alias"
    noun = "alias"
    model = Alias
    ids = ("functionName", "aliasName")
    replaces = frozenset({"functionName", "aliasName"})
    stable = ("createdTime",)
    volatile = ("lastModifiedTime",)
    default_seconds = 900.0
    create_operation = "create_alias"
    get_operation = "get_alias"
    update_operation = "update_alias"
    delete_operation = "delete_alias"

    async def settle(self, run: Run, id: str, inputs: PropertyMap, answer: dict[str, Any]) -> dict[str, Any]:
        name, alias = id.split("/")
        try:
            await run.call("get_provision_config", name, qualifier=alias)
        except FcError as error:
            if is_missing(error):
                return answer
            raise
        await run.until(look_at_pool(run, name, alias))
        return answer
