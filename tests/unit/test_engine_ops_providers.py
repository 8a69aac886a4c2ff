"""Providers of a run: plugins of the state are started ahead, each is used once, none is left open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tickover.engine.packages import PackageSpec
from tickover.engine.providers import Providers
from tickover.engine.state import ResourceState
from tickover.errors import TickoverError


@dataclass
class Plugin:
    spec: PackageSpec
    is_closed: bool = False

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Source:
    """A `PluginSource`. slow: packages whose start takes until told to end; missing: that are not there."""

    slow: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    made: list[Plugin] = field(default_factory=list)

    def finds(self, spec: PackageSpec) -> bool:
        return True

    async def open(self, spec: PackageSpec, log: Any) -> Any:
        if spec.name in self.missing:
            raise TickoverError("plugin-missing", "Provider plugin is not installed", address=spec.name)
        if spec.name in self.slow:
            await asyncio.Event().wait()
        self.made.append(Plugin(spec))
        return self.made[-1]

    async def close(self) -> None:
        """Each plugin is closed by who opened it."""


def entry(package: str, name: str = "own", **inputs: Any) -> ResourceState:
    type_ = f"pulumi:providers:{package}"
    return ResourceState(f"urn:pulumi:dev::shop::{type_}::{name}", type_, True, id="1", inputs=inputs)


def run(source: Source, body: Any) -> Any:
    async def go() -> Any:
        providers = Providers({"local": lambda _: None}, lambda *_, **__: None, source)  # type: ignore[arg-type, return-value]
        try:
            return await body(providers)
        finally:
            await providers.close()
            await source.close()

    return asyncio.run(go())


async def opened(providers: Providers, state: ResourceState) -> Any:
    return (await providers.open(state.urn, state.type, state.inputs)).provider


def test_a_plugin_of_the_state_is_started_before_the_program_asks_and_used_once():
    source, old = Source(), entry("random", version="4.0.0")

    async def body(providers: Providers) -> None:
        providers.open_ahead([old])
        await asyncio.sleep(0)
        (ahead,) = source.made
        assert await opened(providers, old) is ahead
        assert await opened(providers, entry("random", "other", version="4.0.0")) is not ahead

    run(source, body)
    assert [p.is_closed for p in source.made] == [True, True]


def test_another_version_is_another_plugin_and_what_nobody_wanted_ends():
    source = Source(slow=frozenset({"tls"}))

    async def body(providers: Providers) -> None:
        providers.open_ahead([entry("random", version="4.0.0"), entry("tls"), entry("local")])
        assert (await opened(providers, entry("random", version="4.1.0"))).spec.version == "4.1.0"

    run(source, body)
    assert [(p.spec.version, p.is_closed) for p in source.made] == [("4.0.0", True), ("4.1.0", True)]


def test_a_plugin_that_is_missing_is_told_only_where_it_is_asked_for():
    async def unasked(providers: Providers) -> None:
        providers.open_ahead([entry("gone")])
        await asyncio.sleep(0)

    async def asked(providers: Providers) -> None:
        providers.open_ahead([entry("gone")])
        await opened(providers, entry("gone"))

    run(Source(missing=frozenset({"gone"})), unasked)
    with pytest.raises(TickoverError, match="not installed"):
        run(Source(missing=frozenset({"gone"})), asked)


def test_a_state_that_cannot_be_read_does_not_stop_a_run_that_does_not_need_it():
    odd = entry("odd", __internal={"parameterization": "abcde", "name": "generic"})
    run(Source(), lambda providers: _ahead(providers, odd))


async def _ahead(providers: Providers, *states: ResourceState) -> None:
    providers.open_ahead(states)
