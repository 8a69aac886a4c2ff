"""The plugin process, driven by a gRPC client as the Pulumi CLI drives it, against FC over HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2

from tests.support.provider_fake import FakeFc, serving
from tests.support.provider_plugin import Plugin, init_failure, running
from tickover.engine import wire
from tickover.engine.values import UNKNOWN, Secret
from tickover.fc.errors import FcError

FUNCTION = {
    "functionName": "chat-dev",
    "runtime": "custom-container",
    "handler": "not-used",
    "cpu": 1,
    "memorySize": 2048,
    "customContainerConfig": {"image": "process://local", "command": ["serve"]},
    "environmentVariables": {"TOKEN": Secret("hush")},
}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    with running(tmp_path_factory.mktemp("project")) as started:
        yield started


@pytest.fixture
def fake(plugin: Plugin) -> Iterator[FakeFc]:
    fake = FakeFc(looks_until_up=2)
    with serving(fake) as url:
        plugin.configure(url)
        yield fake


def test_handshake_and_schema(plugin: Plugin) -> None:
    shaken = plugin.stub.Handshake(provider_pb2.ProviderHandshakeRequest())
    assert shaken.accept_secrets
    schema = json.loads(plugin.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
    assert "tickover:fc:ProvisionConfig" in schema["resources"]
    assert plugin.stub.GetPluginInfo(Empty()).version


def test_check_config_lists_every_failure(plugin: Plugin) -> None:
    news = wire.encode({"target": "moon", "endpoint": True})
    answer = plugin.stub.CheckConfig(provider_pb2.CheckRequest(urn="urn:x", news=news))
    assert [f.property for f in answer.failures] == ["endpoint", "target"]


def test_configure_says_that_secrets_and_previews_are_understood(plugin: Plugin) -> None:
    answer = plugin.configure("http://127.0.0.1:1")
    assert (answer.acceptSecrets, answer.supportsPreview) == (True, True)


def test_life_of_a_function(plugin: Plugin, fake: FakeFc) -> None:
    urn = plugin.urn("Function")
    checked = plugin.check(urn, FUNCTION)
    assert not checked.failures
    inputs = wire.decode(checked.inputs)
    assert inputs == FUNCTION  # the secret is still one

    created = plugin.create(urn, inputs)
    outputs = wire.decode(created.properties)
    assert created.id == "chat-dev"
    assert outputs["environmentVariables"] == {"TOKEN": Secret("hush")}
    assert outputs["functionArn"].endswith("chat-dev")
    assert fake.bodies["create_function"]["environmentVariables"] == {"TOKEN": "hush"}

    news = wire.decode(plugin.check(urn, {**FUNCTION, "cpu": 2}, inputs).inputs)
    diff = plugin.stub.Diff(
        provider_pb2.DiffRequest(
            id="chat-dev",
            urn=urn,
            olds=created.properties,
            old_inputs=wire.encode(inputs),
            news=wire.encode(news),
        )
    )
    assert (diff.changes, list(diff.replaces), list(diff.diffs)) == (diff.DIFF_SOME, [], ["cpu"])
    assert diff.detailedDiff["cpu"].kind == provider_pb2.PropertyDiff.UPDATE

    updated = plugin.stub.Update(
        provider_pb2.UpdateRequest(
            id="chat-dev",
            urn=urn,
            olds=created.properties,
            old_inputs=wire.encode(inputs),
            news=wire.encode(news),
        )
    )
    assert wire.decode(updated.properties)["cpu"] == 2
    assert "functionName" not in fake.bodies["update_function"]

    fake.objects[("function", "chat-dev")]["cpu"] = 1.5  # somebody else was here
    read = plugin.stub.Read(
        provider_pb2.ReadRequest(
            id="chat-dev", urn=urn, inputs=wire.encode(news), properties=updated.properties
        )
    )
    drift = wire.decode(read.inputs)
    assert {k for k in drift if drift[k] != news[k]} == {"cpu"}

    delete = provider_pb2.DeleteRequest(id="chat-dev", urn=urn, properties=updated.properties)
    plugin.stub.Delete(delete)
    plugin.stub.Delete(delete)  # what is gone already is no error
    gone = plugin.stub.Read(provider_pb2.ReadRequest(id="chat-dev", urn=urn))
    assert gone.id == ""
    assert not fake.objects


def test_preview_calls_nobody_and_keeps_unknowns(plugin: Plugin, fake: FakeFc) -> None:
    news = {"functionName": UNKNOWN, "qualifier": "live", "defaultTarget": 1}
    urn = plugin.urn("ProvisionConfig", "preview")
    checked = plugin.check(urn, news)
    assert not checked.failures
    assert wire.decode(checked.inputs) == news
    answer = plugin.create(urn, news, preview=True)
    outputs = wire.decode(answer.properties)
    assert outputs["functionName"] is UNKNOWN
    assert outputs["current"] is UNKNOWN
    assert answer.id == ""
    assert fake.calls == []


def test_check_returns_all_failures_at_once(plugin: Plugin) -> None:
    bad = {
        **FUNCTION,
        "functionName": "1bad",
        "timeout": 0,
        "gpuConfig": {"gpuType": "fc.gpu.ada.9", "gpuMemorySize": 49152},
        "nasConfig": {"mountPoints": [{"serverAddr": "", "mountDir": "relative"}]},
    }
    failures = plugin.check(plugin.urn("Function", "bad"), bad).failures
    paths = {f.property for f in failures}
    assert {"functionName", "timeout", "gpuConfig.gpuType"} <= paths
    assert any(p.startswith("nasConfig.mountPoints[0].") for p in paths)


def test_a_pool_that_does_not_come_up_is_kept_with_its_reason(plugin: Plugin, fake: FakeFc) -> None:
    fake.objects[("function", "chat-dev")] = {}
    fake.pool_error = "FunctionNotStarted: exited with 1\nlast line of its log"
    urn = plugin.urn("ProvisionConfig", "broken")
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(urn, {"functionName": "chat-dev", "qualifier": "live", "defaultTarget": 1})
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    detail = init_failure(caught.value)
    assert detail is not None
    assert detail.id == "chat-dev/live"
    assert "last line of its log" in detail.reasons[0]
    assert wire.decode(detail.properties)["current"] == 0
    assert wire.decode(detail.inputs)["defaultTarget"] == 1
    progress = [line for line in plugin.engine.lines if line[0] == urn]
    assert progress[0][2], "progress lines are ephemeral"


def test_wrong_credentials_are_told_and_the_secret_is_not(plugin: Plugin, fake: FakeFc) -> None:
    fake.fail["create_function"].append(FcError("SignatureNotMatch", 403, "the signature does not match"))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(plugin.urn("Function", "denied"), FUNCTION)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "Wrong credentials" in caught.value.details()
    assert "hush" not in caught.value.details()


def test_a_host_that_is_not_there(plugin: Plugin) -> None:
    plugin.configure("http://127.0.0.1:1")
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(plugin.urn("Function", "alone"), FUNCTION)
    assert "tickover host start" in caught.value.details()


def test_functions_are_unimplemented(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.stub.Invoke(provider_pb2.InvokeRequest(tok="tickover:fc:nothing"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_sigint_ends_the_process_without_a_trace(tmp_path) -> None:
    with running(tmp_path) as plugin:
        plugin.stub.GetPluginInfo(Empty())
        plugin.process.send_signal(signal.SIGINT)
        assert plugin.process.wait(10) == 0
