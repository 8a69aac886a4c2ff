"""The provider against the real host: a small web server as the model server, from nothing to nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tickover.engine.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    InitFailed,
    ReadRequest,
    Severity,
    UpdateRequest,
)
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError
from tickover.host.client import AdminClient
from tickover.provider.provider import TickoverProvider

ROOT = Path(__file__).resolve().parents[2]
SERVER = {"image": "process://local", "entrypoint": ["python3", "-m", "http.server"], "command": ["${port}"]}
FUNCTION: PropertyMap = {
    "functionName": "web-dev",
    "runtime": "custom-container",
    "handler": "not-used",
    "cpu": 1,
    "memorySize": 1024,
    "customContainerConfig": SERVER,
}
TRIGGER = {
    "functionName": "web-dev",
    "triggerName": "http",
    "triggerType": "http",
    "qualifier": "live",
    "triggerConfig": json.dumps({"authType": "anonymous", "methods": ["GET"]}),
}


def urn(type_: str) -> str:
    return f"urn:pulumi:dev::p::tickover:fc:{type_}::web"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reading, writing = os.pipe()
    host = subprocess.Popen(
        [
            *(sys.executable, "-m", "tickover.host.main", "run", "--home", str(folder)),
            *("--port", str(port), "--ready-fd", str(writing)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as ready:
            assert "error" not in json.loads(ready.readline())
        yield folder
    finally:
        host.terminate()
        assert host.wait(30) == 0


class Client:
    """The provider, one call at a time."""

    def __init__(self, home: Path, config: PropertyMap | None = None) -> None:
        self.lines: list[str] = []
        self.provider = TickoverProvider(self.say, home)
        asyncio.run(self.provider.configure(ConfigureRequest(config or {})))

    def say(self, severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
        self.lines.append(message)

    def create(self, type_: str, inputs: PropertyMap) -> CreateResult:
        checked = asyncio.run(self.provider.check(CheckRequest(urn(type_), None, inputs)))
        assert checked.failures == ()
        return asyncio.run(self.provider.create(CreateRequest(urn(type_), checked.inputs, 60.0)))

    def update(self, type_: str, created: CreateResult, old: PropertyMap, new: PropertyMap) -> PropertyMap:
        asked = UpdateRequest(urn(type_), created.id, old, created.outputs, new, 60.0)
        return asyncio.run(self.provider.update(asked)).outputs

    def read(self, type_: str, id: str, inputs: PropertyMap) -> PropertyMap | None:
        return asyncio.run(self.provider.read(ReadRequest(urn(type_), id, inputs, {}))).inputs

    def delete(self, type_: str, id: str) -> None:
        asyncio.run(self.provider.delete(DeleteRequest(urn(type_), id, {}, {}, 60.0)))


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return int(answer.status)


def test_from_nothing_to_a_url_to_a_new_version_to_nothing(home: Path) -> None:
    client = Client(home)
    function = client.create("Function", FUNCTION)
    version = client.create("FunctionVersion", {"functionName": "web-dev", "description": "content 1"})
    alias_inputs = {"functionName": "web-dev", "aliasName": "live", "versionId": version.outputs["versionId"]}
    alias = client.create("Alias", alias_inputs)
    trigger = client.create("Trigger", TRIGGER)
    pool_inputs = {
        "functionName": "web-dev",
        "qualifier": "live",
        "defaultTarget": 1,
        "alwaysAllocateCPU": False,
        "alwaysAllocateGPU": False,
    }
    pool = client.create("ProvisionConfig", pool_inputs)
    assert (pool.outputs["target"], pool.outputs["current"]) == (1, 1)
    url = trigger.outputs["httpTrigger"]["urlInternet"]
    assert status(f"{url}/") == 200

    for type_, id, inputs in (
        ("Function", function.id, FUNCTION),
        ("Alias", alias.id, alias_inputs),
        ("Trigger", trigger.id, TRIGGER),
        ("ProvisionConfig", pool.id, pool_inputs),
    ):
        assert client.read(type_, id, inputs) == inputs, "a second look finds no drift"

    changed = {**FUNCTION, "customContainerConfig": {**SERVER, "command": ["${port}", "--directory", "/"]}}
    client.update("Function", function, FUNCTION, changed)
    second = client.create("FunctionVersion", {"functionName": "web-dev", "description": "content 2"})
    moved = client.update(
        "Alias", alias, alias_inputs, {**alias_inputs, "versionId": second.outputs["versionId"]}
    )
    assert moved["versionId"] == "2"
    assert status(f"{url}/") == 200

    only_second = {**alias_inputs, "versionId": "2"}
    both = {**only_second, "additionalVersionWeight": {"1": 0.5}}
    client.update("Alias", alias, only_second, both)
    assert client.read("Alias", alias.id, both) == both
    ups = [i for i in AdminClient(home).instances() if i["state"] in ("ready", "busy", "suspending", "idle")]
    assert sorted(i["version_id"] for i in ups) == ["1", "2"], "it is done when both versions are up"
    assert client.update("ProvisionConfig", pool, pool_inputs, pool_inputs)["current"] == 2
    client.update("Alias", alias, both, only_second)
    assert client.read("Alias", alias.id, only_second) == only_second
    assert client.read("Alias", alias.id, both) == only_second, "what is gone is drift"
    assert status(f"{url}/") == 200

    for type_, id in (
        ("ProvisionConfig", pool.id),
        ("Trigger", trigger.id),
        ("Alias", alias.id),
        ("Function", function.id),
    ):
        client.delete(type_, id)
        client.delete(type_, id)
        assert client.read(type_, id, {}) == {}


def test_a_command_that_exits_is_told_with_its_log(home: Path) -> None:
    client = Client(home)
    broken = {"image": "process://local", "command": ["python3", "-c", "print('no model here'); exit(3)"]}
    client.create("Function", {**FUNCTION, "functionName": "broken", "customContainerConfig": broken})
    pool = {"functionName": "broken", "qualifier": "LATEST", "defaultTarget": 1}
    with pytest.raises(InitFailed) as caught:
        client.create("ProvisionConfig", pool)
    assert "no model here" in caught.value.reasons[0]
    client.delete("ProvisionConfig", caught.value.id)
    client.delete("Function", "broken")


def test_a_wrong_key_is_refused(home: Path) -> None:
    config: dict[str, Any] = {"accessKeyId": "nobody", "accessKeySecret": "hush"}
    with pytest.raises(TickoverError) as caught:
        Client(home, config).create("Function", FUNCTION)
    assert caught.value.exit_code is Exit.AUTHENTICATION
    assert "hush" not in str(caught.value)
