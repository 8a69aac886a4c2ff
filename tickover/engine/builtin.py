"""The package ``pulumi``: references to other stacks, the stash, and look-ups in the running deployment.

Owns: `pulumi:pulumi:StackReference`, `pulumi:index:Stash`, `getResource`, `readStackOutputs`,
`readStackResourceOutputs`. Promises: nothing outside the state is touched. Never: starts a plugin.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    InvokeResult,
    Local,
    ReadRequest,
    ReadResult,
    Unimplemented,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import same
from tickover.engine.urn import parse_urn
from tickover.engine.values import PropertyMap, contains_secret, contains_unknown, reveal
from tickover.errors import ConfigError

PACKAGE: Final = "pulumi"
_STACK_REFERENCE: Final = "pulumi:pulumi:StackReference"
_STASH: Final = "pulumi:index:Stash"
_INPUT: Final = {_STACK_REFERENCE: "name", _STASH: "input"}


class OtherStacks(Protocol):
    """Reads the saved states of the same back end."""

    async def outputs(self, name: str) -> PropertyMap:
        """Outputs of the stack ``[organization/[project/]]stack``. Raises TickoverError if there is none."""

    async def resource_outputs(self, name: str) -> PropertyMap:
        """URN → {type, id, outputs} of its resources."""


@dataclass(slots=True)
class Builtin(Local):
    """find: a resource registered or read in this run, by URN."""

    stacks: OtherStacks
    find: Callable[[str], ResourceState | None]
    supports_preview: bool = True

    async def check_config(self, request: CheckRequest) -> CheckResult:
        return CheckResult(request.news)

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        return DiffResult(False)

    async def configure(self, request: ConfigureRequest) -> None:
        """It has no configuration."""

    async def check(self, request: CheckRequest) -> CheckResult:
        key = _input_of(request.urn)
        failures = [CheckFailure(k, f"unknown property {k!r}") for k in request.news if k != key]
        if key not in request.news:
            failures.append(CheckFailure(key, f"missing required property {key!r}"))
        return CheckResult(request.news, tuple(failures))

    async def diff(self, request: DiffRequest) -> DiffResult:
        key = _input_of(request.urn)
        if same(request.old_inputs.get(key), request.news.get(key)):
            return DiffResult(False)
        return DiffResult(True, replaces=("name",) if key == "name" else ())

    async def create(self, request: CreateRequest) -> CreateResult:
        id_ = "" if request.preview else str(uuid.uuid4())
        if _input_of(request.urn) == "name":
            return CreateResult(id_, await self._reference(request.news))
        value = request.news["input"]
        return CreateResult(id_, {"input": value, "output": value})

    async def update(self, request: UpdateRequest) -> UpdateResult:
        return UpdateResult({"input": request.news["input"], "output": request.old_outputs.get("output")})

    async def delete(self, request: DeleteRequest) -> None:
        """Nothing but the state has it."""

    async def read(self, request: ReadRequest) -> ReadResult:
        key = _input_of(request.urn)
        if key == "input":
            if not request.inputs:
                raise ConfigError("not-importable", "Stash cannot be imported", "It exists in a state only.")
            return ReadResult(request.id, request.outputs, request.inputs)
        given = request.inputs or request.outputs
        if "name" not in given:
            raise ConfigError(
                "not-importable", "Stack reference cannot be imported", "It exists in a state only."
            )
        return ReadResult(request.id, await self._reference(given), request.inputs)

    async def invoke(self, token: str, args: PropertyMap) -> InvokeResult:
        handler = _FUNCTIONS.get(token)
        if handler is None:
            raise Unimplemented(f"package pulumi has no function {token}")
        return InvokeResult(await handler(self, args))

    async def cancel(self) -> None:
        """Nothing takes long."""

    async def close(self) -> None:
        """Nothing is held."""

    async def _reference(self, inputs: PropertyMap) -> PropertyMap:
        name = inputs["name"]
        if contains_unknown(name):
            return {"name": name}
        outputs = await self.stacks.outputs(str(reveal(name)))
        secret = sorted(key for key, value in outputs.items() if contains_secret(value))
        return {"name": name, "outputs": outputs, "secretOutputNames": secret}

    async def _read_outputs(self, args: PropertyMap) -> PropertyMap:
        return await self._reference(args)

    async def _read_resource_outputs(self, args: PropertyMap) -> PropertyMap:
        name = str(reveal(args["stackName"]))
        return {"name": name, "outputs": await self.stacks.resource_outputs(name)}

    async def _get_resource(self, args: PropertyMap) -> PropertyMap:
        urn = str(reveal(args["urn"]))
        found = self.find(urn)
        if found is None:
            raise ConfigError("unknown-resource", "Unknown resource", "It is not registered.", urn)
        return {"urn": urn, "id": found.id, "provider": found.provider, "state": found.outputs}


_FUNCTIONS: Final[dict[str, Callable[[Builtin, PropertyMap], Awaitable[PropertyMap]]]] = {
    "pulumi:pulumi:readStackOutputs": Builtin._read_outputs,
    "pulumi:pulumi:readStackResourceOutputs": Builtin._read_resource_outputs,
    "pulumi:pulumi:getResource": Builtin._get_resource,
}


def _input_of(urn: str) -> str:
    type_ = parse_urn(urn).type
    if type_ not in _INPUT:
        raise Unimplemented(f"package pulumi has no resource {type_}")
    return _INPUT[type_]
