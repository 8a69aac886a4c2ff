"""The servers that Pulumi's SDK ships, and this project's own plugin, as processes of the engine."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import dill
import pytest
from pulumi.runtime.proto import provider_pb2

from tests.support.plugin_judge import ROOT
from tests.support.plugin_open import Said, environment, plugins
from tests.support.plugin_programs import (
    COMPONENT_MAIN,
    COMPONENT_MODULE,
    MANIFEST,
    TYPED_MAIN,
    InstantMonitor,
)
from tickover.engine import wire
from tickover.engine.monitor import EngineLog
from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.errors import OutcomeUnknown
from tickover.engine.plugins.serve import served
from tickover.engine.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    ReadRequest,
    Severity,
    Unimplemented,
    UpdateRequest,
)
from tickover.engine.values import Secret
from tickover.errors import TickoverError

DYNAMIC_URN = "urn:pulumi:dev::p::pulumi-python:dynamic:Resource::one"


async def with_provider(
    folder: Path, name: str, work: Any, *named: tuple[str, Path], said: Any = None
) -> Any:
    source = plugins(folder, environment(folder), *named)
    try:
        return await work(await source.open(PackageSpec(name), said or Said()))
    finally:
        await source.close()


def pickled(folder: Path) -> Secret:
    """A dynamic provider of a module that only the project's folder has, as programs send it."""
    (folder / "greeting.py").write_text("WORD = 'hello'\n", "utf-8")
    code = """
import pulumi.dynamic as d

class Greeter(d.ResourceProvider):
    def create(self, props):
        from greeting import WORD
        print("creating a greeter")
        if props.get("fail"):
            raise Exception("no greeting for " + props["fail"])
        return d.CreateResult("g-1", {"text": f"{WORD} {props['who']}", "who": props["who"]})

    def diff(self, id_, olds, news):
        changed = olds["who"] != news["who"]
        return d.DiffResult(changes=changed, replaces=["who"] if changed else [], delete_before_replace=True)

    def read(self, id_, props):
        return d.ReadResult(id_, {**props, "text": "read"})

    def update(self, id_, olds, news):
        return d.UpdateResult({"who": news["who"]})
"""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(code, scope)
    return Secret(base64.b64encode(dill.dumps(scope["Greeter"](), recurse=True)).decode())


def test_the_dynamic_provider_from_check_to_delete(tmp_path: Path) -> None:
    said, provider_input = Said(), pickled(tmp_path)
    news = {"__provider": provider_input, "who": "world"}

    async def go(provider: Any) -> None:
        assert not provider.supports_preview
        with pytest.raises(Unimplemented):
            await provider.check_config(CheckRequest("", None, {}))
        await provider.configure(ConfigureRequest({"a:b": "c"}))
        checked = await provider.check(CheckRequest(DYNAMIC_URN, None, news))
        assert checked.inputs == news
        made = await provider.create(CreateRequest(DYNAMIC_URN, checked.inputs))
        assert made.id == "g-1"
        assert made.outputs == {"__provider": provider_input, "text": "hello world", "who": "world"}
        other = {**news, "who": "moon"}
        diff = await provider.diff(DiffRequest(DYNAMIC_URN, "g-1", news, made.outputs, other))
        assert (diff.changes, diff.replaces, diff.delete_before_replace) == (True, ("who",), True)
        found = await provider.read(ReadRequest(DYNAMIC_URN, "g-1", news, made.outputs))
        assert found.outputs["text"] == "read"
        assert isinstance(found.outputs["__provider"], Secret)
        updated = await provider.update(UpdateRequest(DYNAMIC_URN, "g-1", news, made.outputs, other))
        assert updated.outputs["who"] == "moon"
        await provider.delete(DeleteRequest(DYNAMIC_URN, "g-1", news, made.outputs))
        with pytest.raises(TickoverError) as caught:
            await provider.create(CreateRequest(DYNAMIC_URN, {**news, "fail": "you"}))
        assert not isinstance(caught.value, OutcomeUnknown)
        assert caught.value.detail == "no greeting for you"

    asyncio.run(with_provider(tmp_path, "pulumi-python", go, said=said))
    assert said.messages(Severity.INFO).count("creating a greeter") == 2  # its author's own prints


def typed(folder: Path) -> Path:
    plugin = folder / "typed"
    plugin.mkdir()
    (plugin / "PulumiPlugin.yaml").write_text("runtime: python\n", "utf-8")
    (plugin / "__main__.py").write_text(TYPED_MAIN, "utf-8")
    return plugin


def test_a_typed_provider_in_a_folder(tmp_path: Path) -> None:
    urn = "urn:pulumi:dev::p::typed:index:Thing::one"

    async def go(provider: Any) -> None:
        assert provider.version == "3.2.1"
        await provider.configure(ConfigureRequest({}, "urn:pulumi:dev::p::pulumi:providers:typed::default"))
        assert provider.supports_preview
        checked = await provider.check(CheckRequest(urn, None, {"size": 3}))
        assert [(f.property, f.reason) for f in checked.failures] == [("size", "too big")]
        made = await provider.create(CreateRequest(urn, {"key": Secret("s3cret"), "n": [1, True]}))
        assert (made.id, made.outputs) == ("typed-1", {"key": Secret("s3cret"), "n": [1, True]})
        assert (await provider.invoke("typed:index:say", {"say": "hi"})).outputs == {"echo": "hi"}
        with pytest.raises(TickoverError) as caught:
            await provider.create(CreateRequest(urn, {"refuse": True}))
        assert "the shop is closed" in caught.value.detail
        assert "File " not in caught.value.detail
        with pytest.raises(TickoverError) as caught:
            await provider.update(UpdateRequest(urn, "typed-1", {}, {}, {}))
        assert caught.value.code == "provider-lacks-verb"

    asyncio.run(with_provider(tmp_path, "typed", go, ("typed", typed(tmp_path))))


@pytest.fixture(params=["main", "module"])
def shapes(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The component provider with a __main__.py, and as a package that Pulumi's launcher runs."""
    folder = tmp_path / "shapes-folder"
    folder.mkdir()
    (folder / "PulumiPlugin.yaml").write_text(MANIFEST, "utf-8")
    if request.param == "main":
        (folder / "parts.py").write_text(COMPONENT_MODULE, "utf-8")
        (folder / "__main__.py").write_text(COMPONENT_MAIN, "utf-8")
    else:
        (folder / "shapes").mkdir()
        (folder / "shapes" / "__init__.py").write_text(COMPONENT_MODULE, "utf-8")
        (folder / "pyproject.toml").write_text('[project]\nname = "shapes"\nversion = "1.0.0"\n', "utf-8")
    return folder


def test_a_component_provider_registers_children_with_the_served_monitor(
    tmp_path: Path, shapes: Path
) -> None:
    said, monitor = Said(), InstantMonitor()

    async def go() -> Any:
        def say(severity: Severity, urn: str, message: str, ephemeral: bool) -> None:
            said(severity, urn, message, ephemeral=ephemeral)

        log = EngineLog(say, asyncio.get_running_loop())
        async with served(monitor, log) as address:
            source = plugins(tmp_path, environment(tmp_path), ("shapes", shapes), engine_address=address)
            try:
                provider = await source.open(PackageSpec("shapes"), Said())
                await provider.configure(ConfigureRequest({}))
                made = [await provider.construct(construct(address, name)) for name in ("pair", "two")]
                for name, why in (("broken", "a pair cannot be broken"), ("taken", "the name is taken")):
                    with pytest.raises(TickoverError, match=why):
                        await provider.construct(construct(address, name))
                return made[0]
            finally:
                await source.close()

    def construct(address: str, name: str) -> Any:
        return provider_pb2.ConstructRequest(
            project="p",
            stack="dev",
            organization="organization",
            parallel=4,
            monitorEndpoint=address,
            type="shapes:index:Pair",
            name=name,
            inputs=wire.encode({"label": "x", "secret": Secret("y")}),
            accepts_output_values=True,
        )

    answer = asyncio.run(go())
    pair = "urn:pulumi:dev::p::shapes:index:Pair::pair"
    assert answer.urn == pair
    assert wire.decode(answer.state) == {"shown": "<x>"}
    assert monitor.registered[0] == ("shapes:index:Pair", "pair", "")
    assert set(monitor.registered[1:3]) == {
        ("judge:index:Leaf", "pair-left", pair),
        ("judge:index:Leaf", "pair-right", pair),
    }
    assert pair in monitor.outputs
    assert "pairing" in said.messages(Severity.WARNING)


def test_this_projects_own_plugin(tmp_path: Path) -> None:
    urn = "urn:pulumi:dev::p::tickover:fc:Function::f"

    async def go(provider: Any) -> None:
        assert provider.supports_preview  # by its handshake, before it is configured
        inputs = {"endpoint": "http://127.0.0.1:9", "accessKeyId": "id", "accessKeySecret": Secret("sec")}
        checked = await provider.check_config(
            CheckRequest("urn:pulumi:dev::p::pulumi:providers:tickover::default", None, inputs)
        )
        assert checked.inputs["accessKeySecret"] == Secret("sec")
        await provider.configure(ConfigureRequest(checked.inputs, "", "id-1"))
        bad = await provider.check(CheckRequest(urn, None, {"functionName": 3}))
        assert bad.failures
        with pytest.raises(TickoverError):
            await provider.check(CheckRequest("urn:pulumi:dev::p::tickover:fc:Nothing::f", None, {}))

    binary = Path(sys.executable).parent
    assert (binary / "pulumi-resource-tickover").exists(), f"not installed beside {sys.executable} of {ROOT}"
    asyncio.run(with_provider(tmp_path, "tickover", go, ("tickover", binary)))
