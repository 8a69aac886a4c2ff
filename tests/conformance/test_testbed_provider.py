"""The provider of the test programs, seen over its own protocol: what the cases rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

TESTBED = Path(__file__).resolve().parents[1] / "providers/testbed"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


class Caller:
    """A running provider and its world file."""

    def __init__(self, process: subprocess.Popen[str], world: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.world = world
        self.channel = grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def create(self, kind: str, name: str, preview: bool = False, **inputs: Any) -> Any:
        request = provider_pb2.CreateRequest(urn=urn(kind, name), properties=struct(inputs), preview=preview)
        return self.stub.Create(request)

    def update(self, kind: str, made: str, preview: bool = False, **inputs: Any) -> Any:
        name = made.rpartition("-")[0]
        request = provider_pb2.UpdateRequest(
            id=made, urn=urn(kind, name), news=struct(inputs), preview=preview
        )
        return self.stub.Update(request)

    def read(self, kind: str, made: str) -> Any:
        return self.stub.Read(provider_pb2.ReadRequest(id=made, urn=urn(kind, made.rpartition("-")[0])))

    def delete(self, kind: str, made: str, **inputs: Any) -> Any:
        name = made.rpartition("-")[0]
        request = provider_pb2.DeleteRequest(id=made, urn=urn(kind, name), old_inputs=struct(inputs))
        return self.stub.Delete(request)

    def diff(self, kind: str, old: dict[str, Any], new: dict[str, Any]) -> Any:
        request = provider_pb2.DiffRequest(
            id="x-1", urn=urn(kind, "x"), old_inputs=struct(old), news=struct(new)
        )
        return self.stub.Diff(request)

    def script(self, *words: str) -> str:
        """What a case's own step does to the world."""
        env = os.environ | {"TESTBED_WORLD": str(self.world)}
        command = [sys.executable, str(TESTBED / "world.py"), *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()


@contextmanager
def running(folder: Path) -> Iterator[Caller]:
    world = folder / "world.json"
    env = os.environ | {"TESTBED_WORLD": str(world), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(TESTBED / "pulumi-resource-testbed"), "127.0.0.1:1"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    caller = Caller(process, world)
    try:
        yield caller
    finally:
        caller.channel.close()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Caller]:
    with running(tmp_path) as caller:
        yield caller


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::p::testbed:index:Group$testbed:index:{kind}::{name}"


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made


def failure(call: Any, *args: Any, **named: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **named)
    return caught.value


def test_the_same_requests_lead_to_the_same_ids_outputs_and_world(tmp_path: Path) -> None:
    worlds = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with running(tmp_path / name) as provider:
            made = [provider.create("Computed", "a", value=1) for _ in range(2)]
            provider.update("Computed", "a-1", value=2)
            provider.delete("Computed", "a-2")
        assert [one.id for one in made] == ["a-1", "a-2"]
        assert MessageToDict(made[1].properties) == {"value": 1.0, "computed": "1 of a-2"}
        worlds.append(json.loads((tmp_path / name / "world.json").read_text()))
    assert worlds[0] == worlds[1]
    assert worlds[0]["log"] == ["create:a-1", "create:a-2", "update:a-1", "delete:a-2"]


def test_a_preview_makes_nothing_and_does_not_know_what_only_the_real_thing_can_say(provider: Caller) -> None:
    answer = provider.create("Computed", "a", value="x", preview=True)
    assert (answer.id, answer.properties["computed"]) == ("", UNKNOWN)
    provider.update("Failing", "a-1", fails="update", preview=True)
    assert provider.script("things") == "."
    assert provider.script("log") == "."


@pytest.mark.parametrize(
    ("form", "changes", "diffs", "detailed"),
    [
        (None, "DIFF_SOME", ["value"], ["value.a", "value.b[1]"]),
        ("none-detailed", "DIFF_SOME", ["value"], []),
        ("outputs", "DIFF_SOME", ["value"], ["value.a", "value.b[1]"]),
        ("replaces-other", "DIFF_SOME", ["value"], ["value.a", "value.b[1]"]),
        ("always", "DIFF_SOME", ["always", "value"], ["always", "value.a", "value.b[1]"]),
        ("never", "DIFF_NONE", [], []),
        ("unknown", "DIFF_UNKNOWN", [], []),
    ],
)
def test_diff_answers_in_the_form_that_the_input_asks_for(
    provider: Caller, form: str | None, changes: str, diffs: list[str], detailed: list[str]
) -> None:
    more = {"diff": form} if form else {}
    old = {"value": {"a": 1, "b": [1]}, **more}
    answer = provider.diff("Simple", old, {"value": {"a": 2, "b": [1, 2]}, **more})
    assert provider_pb2.DiffResponse.DiffChanges.Name(answer.changes) == changes
    assert (sorted(answer.diffs), sorted(answer.detailedDiff)) == (diffs, detailed)
    assert list(answer.replaces) == (["id"] if form == "replaces-other" else [])
    assert all(one.inputDiff is (form != "outputs") for one in answer.detailedDiff.values())


def test_another_name_replaces_first_deleted_if_asked_and_stables_are_said(provider: Caller) -> None:
    new = {"name": "b", "deleteFirst": True, "stables": ["value"]}
    answer = provider.diff("Named", {"name": "a"}, new)
    assert list(answer.replaces) == ["name"]
    assert answer.deleteBeforeReplace is True
    assert list(answer.stables) == ["value"]
    assert answer.detailedDiff["name"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE
    assert list(provider.diff("Simple", {"name": "a"}, {"name": "b"}).replaces) == []


@pytest.mark.parametrize(
    ("verb", "noted"),
    [("create", "create-failed:a"), ("update", "update-failed:a-1"), ("delete", "delete-failed:a-1")],
)
def test_a_failing_one_fails_where_it_is_told_to_and_notes_it(
    provider: Caller, verb: str, noted: str
) -> None:
    calls = {
        "create": lambda: provider.create("Failing", "a", fails="create"),
        "update": lambda: provider.update("Failing", "a-1", fails="update"),
        "delete": lambda: provider.delete("Failing", "a-1", fails="delete"),
    }
    if verb != "create":
        provider.create("Failing", "a")
        provider.script("log")
    error = failure(calls[verb])
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNKNOWN,
        f"the testbed refuses to {verb}",
    )
    assert provider.script("log") == f"{noted} ."
    assert provider.script("things") == ("." if verb == "create" else "a-1 .")


def test_what_gets_half_done_is_there_and_told_with_its_id(provider: Caller) -> None:
    error = failure(provider.create, "Failing", "a", fails="partial-create", value=1)
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert (detail.id, list(detail.reasons)) == ("a-1", ["it never became ready"])
    assert MessageToDict(detail.inputs) == {"fails": "partial-create", "value": 1.0}
    assert failure(provider.read, "Failing", "a-1").details() == error.details()
    provider.script("mend")
    assert provider.read("Failing", "a-1").id == "a-1"
    assert isinstance(provider.delete("Failing", "a-1"), Empty)
    assert provider.script("things") == "."


def test_a_crash_ends_the_process_and_makes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as provider:
        error = failure(provider.create, "Failing", "a", fails="crash")
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert provider.process.wait(20) == 7
        assert provider.script("things") == "."


def test_the_world_can_be_changed_behind_the_engines_back(provider: Caller) -> None:
    provider.create("Simple", "a", value=1)
    provider.script("set", "a-1", "value", '["other"]')
    provider.script("add", "b-9", "testbed:index:Secretive", '{"value": 2}')
    assert MessageToDict(provider.read("Simple", "a-1").inputs) == {"value": ["other"]}
    token = MessageToDict(provider.read("Secretive", "b-9").properties["token"])
    assert token == SECRET | {"value": "token of 2"}
    provider.script("drop", "a-1")
    assert provider.read("Simple", "a-1").id == ""
    assert failure(provider.update, "Simple", "a-1", value=2).code() is grpc.StatusCode.NOT_FOUND
    assert [provider.read("Counter", "b-9").properties["reads"] for _ in range(2)] == [1.0, 2.0]


def test_check_refuses_what_it_is_told_to_and_takes_the_proposed_name(provider: Caller) -> None:
    def check(kind: str, olds: dict[str, Any] | None = None, **news: Any) -> Any:
        request = provider_pb2.CheckRequest(urn=urn(kind, "a"), olds=struct(olds or {}), news=struct(news))
        request.autonaming.proposed_name = "proposed"
        return provider.stub.Check(request)

    [refused] = check("Failing", fails="check").failures
    assert refused.property == "fails"
    assert not check("Failing", fails="create").failures
    given = ({}, {"name": "own"}, {"olds": {"name": "old"}})
    names = [check("Autonamed", **one).inputs["name"] for one in given]
    assert names == ["proposed", "own", "old"]
    assert "no type testbed:index:Nothing" in failure(check, "Nothing").details()


def test_two_slow_ones_at_a_time_are_noted(provider: Caller) -> None:
    def both(workers: int) -> str:
        with ThreadPoolExecutor(workers) as pool:
            made = [pool.submit(provider.create, "Slow", name, seconds=0.3) for name in "ab"]
        assert all(one.result().id for one in made)
        return provider.script("log", "sorted")

    assert both(1) == "create:a-1 create:b-1 ."
    assert both(2) == "create:a-2 create:b-2 together ."


def test_the_config_labels_what_is_made_and_answers_functions(provider: Caller) -> None:
    def invoke(name: str, **args: Any) -> Any:
        request = provider_pb2.InvokeRequest(tok=f"testbed:index:{name}", args=struct(args))
        return provider.stub.Invoke(request)

    def configure(prefix: str) -> Any:
        return provider.stub.Configure(provider_pb2.ConfigureRequest(args=struct({"prefix": prefix})))

    answer = configure("p")
    assert (answer.acceptSecrets, answer.acceptResources, answer.supportsPreview) == (True, True, True)
    assert provider.create("Simple", "a", value="v").properties["label"] == "p-v"
    assert MessageToDict(getattr(invoke("echo", a=1), "return")) == {"a": 1.0, "prefix": "p"}
    hidden = MessageToDict(getattr(invoke("secret", a="s"), "return"))
    assert hidden == {"open": "s", "hidden": SECRET | {"value": "s"}}
    assert [one.property for one in invoke("fail", how="check").failures] == ["how"]
    assert failure(invoke, "fail").code() is grpc.StatusCode.UNKNOWN
    assert failure(invoke, "nothing").code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure(configure, "unusable").code() is grpc.StatusCode.INVALID_ARGUMENT
    [refused] = provider.stub.CheckConfig(
        provider_pb2.CheckRequest(news=struct({"prefix": "refused"}))
    ).failures
    assert refused.property == "prefix"
    assert json.loads(provider.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)["name"] == "testbed"
    assert provider.stub.GetPluginInfo(Empty()).version == "1.0.0"
