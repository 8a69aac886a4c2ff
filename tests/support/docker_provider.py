"""A docker provider driven as the engine drives it: check, then create, and the rest.

Owns: the sequence of verbs for one resource. Promises: an input that Check refuses fails the test. Never:
knows a resource type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    ReadRequest,
    ReadResult,
    Severity,
    UpdateRequest,
)
from tickover.engine.values import PropertyMap
from tickover.provider.docker.provider import DockerProvider

TYPES = {
    "RemoteImage": "remoteImage",
    "Tag": "tag",
    "RegistryImage": "registryImage",
    "Volume": "volume",
    "Network": "network",
    "Container": "container",
}


def urn(type_: str, name: str = "it") -> str:
    module = TYPES.get(type_, type_[:1].lower() + type_[1:])
    return f"urn:pulumi:dev::p::docker:index/{module}:{type_}::{name}"


@dataclass
class Object:
    """A resource as the engine would record it."""

    urn: str
    id: str
    inputs: PropertyMap
    outputs: PropertyMap


@dataclass
class Driver:
    """provider: the one under test; lines: what it said, as (severity, message, ephemeral)."""

    provider: DockerProvider
    lines: list[tuple[Severity, str, bool]] = field(default_factory=list)

    async def failures(self, type_: str, /, **inputs: Any) -> dict[str, str]:
        checked = await self.provider.check(CheckRequest(urn(type_), None, inputs))
        return {f.property: f.reason for f in checked.failures}

    async def checked(self, type_: str, name: str = "it", old: Object | None = None, /, **inputs: Any) -> Any:
        request = CheckRequest(urn(type_, name), old.inputs if old else None, inputs, b"seed")
        result = await self.provider.check(request)
        assert result.failures == (), result.failures
        return result.inputs

    async def create(self, type_: str, name: str = "it", seconds: float = 0, /, **inputs: Any) -> Object:
        news = await self.checked(type_, name, **inputs)
        where = urn(type_, name)
        preview = await self.provider.create(CreateRequest(where, news, preview=True))
        made = await self.provider.create(CreateRequest(where, news, timeout_seconds=seconds))
        odd = made.outputs.keys() - preview.outputs.keys() - {"exitCode"}
        assert not odd, f"outputs that the preview did not announce: {odd}"
        return Object(where, made.id, news, made.outputs)

    async def diff(self, old: Object, /, **inputs: Any) -> DiffResult:
        news = await self.checked(old.urn.rsplit(":", 3)[-3], old.urn.rsplit("::", 1)[-1], old, **inputs)
        return await self.provider.diff(DiffRequest(old.urn, old.id, old.inputs, old.outputs, news))

    async def update(self, old: Object, /, **inputs: Any) -> Object:
        news = await self.checked(old.urn.rsplit(":", 3)[-3], old.urn.rsplit("::", 1)[-1], old, **inputs)
        done = await self.provider.update(UpdateRequest(old.urn, old.id, old.inputs, old.outputs, news))
        return Object(old.urn, old.id, news, done.outputs)

    async def read(self, old: Object) -> ReadResult:
        return await self.provider.read(ReadRequest(old.urn, old.id, old.inputs, old.outputs))

    async def refresh(self, old: Object) -> Object:
        found = await self.read(old)
        assert found.inputs is not None
        return Object(old.urn, found.id, found.inputs, found.outputs)

    async def imported(self, type_: str, id: str) -> ReadResult:
        return await self.provider.read(ReadRequest(urn(type_), id, {}, {}))

    async def delete(self, old: Object) -> None:
        await self.provider.delete(DeleteRequest(old.urn, old.id, old.inputs, old.outputs))


@asynccontextmanager
async def driver(
    config: PropertyMap, heard: Callable[[str], object] = len, **options: Any
) -> AsyncIterator[Driver]:
    """A configured provider; its connections are closed at the end. heard: told of every line."""
    lines: list[tuple[Severity, str, bool]] = []

    def log(severity: Severity, where: str, message: str, *, ephemeral: bool = False) -> None:
        lines.append((severity, message, ephemeral))
        heard(message)

    provider = DockerProvider(log, environ={}, **options)
    checked = await provider.check_config(CheckRequest("", None, config))
    assert checked.failures == (), checked.failures
    await provider.configure(ConfigureRequest(checked.inputs))
    try:
        yield Driver(provider, lines)
    finally:
        await provider.close()


def reasons(failures: tuple[CheckFailure, ...]) -> dict[str, str]:
    return {f.property: f.reason for f in failures}
