"""Each resource type through its life against a scripted FC, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from tests.support.provider_fake import FakeFc
from tickover.engine.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffKind,
    DiffRequest,
    DiffResult,
    InitFailed,
    PropertyDiff,
    ReadRequest,
    Severity,
    UpdateRequest,
)
from tickover.engine.values import UNKNOWN, PropertyMap, Secret
from tickover.errors import Exit, TickoverError
from tickover.fc.client import Unreachable
from tickover.fc.errors import FcError
from tickover.provider.provider import TickoverProvider

T = TypeVar("T")
FUNCTION: PropertyMap = {
    "functionName": "chat-dev",
    "runtime": "custom-container",
    "handler": "x",
    "cpu": 1,
    "memorySize": 2048,
    "customContainerConfig": {"image": "process://local", "command": ["serve"]},
}
POOL: PropertyMap = {"functionName": "chat-dev", "qualifier": "live", "defaultTarget": 2}


class VirtualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class World:
    """A provider, its FC, its clock and what it said."""

    def __init__(self, fake: FakeFc | None = None) -> None:
        self.fake = fake or FakeFc()
        self.clock = VirtualClock()
        self.said: list[tuple[Severity, str, bool]] = []
        self.provider = TickoverProvider(self.say, connect=lambda _: self.fake, clock=self.clock, environ={})
        config = {"endpoint": "http://fc.test", "accessKeyId": "id", "accessKeySecret": Secret("hush")}
        run(self.provider.configure(ConfigureRequest(config)))

    def say(self, severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
        self.said.append((severity, message, ephemeral))

    def create(self, type_: str, inputs: PropertyMap, name: str = "r", **more: Any) -> CreateResult:
        checked = run(self.provider.check(CheckRequest(urn(type_, name), None, inputs)))
        assert checked.failures == ()
        return run(self.provider.create(CreateRequest(urn(type_, name), checked.inputs, **more)))

    def diff(self, type_: str, old: PropertyMap, new: PropertyMap) -> DiffResult:
        return run(self.provider.diff(DiffRequest(urn(type_), "id", old, {}, new)))

    def update(
        self, type_: str, id: str, old: PropertyMap, new: PropertyMap, outputs: PropertyMap
    ) -> PropertyMap:
        return run(self.provider.update(UpdateRequest(urn(type_), id, old, outputs, new))).outputs

    def delete(self, type_: str, id: str, name: str = "r") -> None:
        run(self.provider.delete(DeleteRequest(urn(type_, name), id, {}, {})))


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def urn(type_: str, name: str = "r") -> str:
    return f"urn:pulumi:dev::p::tickover:index:VllmService$tickover:fc:{type_}::{name}"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def with_function(world: World) -> World:
    world.create("Function", FUNCTION)
    world.fake.calls.clear()
    return world


def test_a_function_is_waited_for(world: World) -> None:
    world.fake.function_states = [
        {"state": "Pending"},
        {"state": "Pending", "lastUpdateStatus": "InProgress"},
        {},
    ]
    result = world.create("Function", FUNCTION)
    assert result.outputs["state"] == "Active"
    assert world.fake.calls == ["create_function", "get_function chat-dev", "get_function chat-dev"]
    assert [message for _, message, ephemeral in world.said if ephemeral] == [
        "function is Pending, its update Successful",
        "function is Pending, its update InProgress",
    ]


def test_a_function_that_fails_is_kept_with_the_reason(world: World) -> None:
    world.fake.function_states = [{"state": "Failed", "stateReason": "image not found"}]
    with pytest.raises(InitFailed) as caught:
        world.create("Function", FUNCTION)
    assert caught.value.id == "chat-dev"
    assert caught.value.reasons == ("Function chat-dev failed: image not found",)
    assert caught.value.outputs["functionArn"]


def test_what_a_run_cut_short_has_left_is_adopted(with_function: World) -> None:
    result = with_function.create("Function", FUNCTION)
    assert result.id == "chat-dev"
    assert [s for s, _, _ in with_function.said] == [Severity.WARNING]


def test_another_object_of_that_name_is_not(with_function: World) -> None:
    with pytest.raises(TickoverError) as caught:
        with_function.create("Function", {**FUNCTION, "cpu": 2})
    assert caught.value.code == "name-taken"
    assert "function chat-dev" in caught.value.detail


def test_two_resources_that_declare_one_object(world: World) -> None:
    run(world.provider.check(CheckRequest(urn("Function", "a"), None, FUNCTION)))
    again = run(world.provider.check(CheckRequest(urn("Function", "a"), None, FUNCTION)))
    assert again.failures == ()
    clash = run(world.provider.check(CheckRequest(urn("Function", "b"), None, FUNCTION)))
    assert [f.property for f in clash.failures] == ["functionName"]
    assert "resource a" in clash.failures[0].reason


def test_a_renamed_resource_does_not_delete_what_its_successor_declares(with_function: World) -> None:
    # A new run: the program now calls the resource "s"; the engine creates s, then deletes r.
    world = World(with_function.fake)
    world.create("Function", FUNCTION, name="s")
    world.delete("Function", "chat-dev", name="r")
    assert ("function", "chat-dev") in world.fake.objects


def test_only_a_new_name_replaces_a_function(world: World) -> None:
    assert world.diff("Function", FUNCTION, dict(FUNCTION)).changes is False
    changed = world.diff("Function", FUNCTION, {**FUNCTION, "cpu": 2})
    assert (changed.changes, changed.replaces) == (True, ())
    renamed = world.diff("Function", FUNCTION, {**FUNCTION, "functionName": UNKNOWN})
    assert (renamed.replaces, renamed.delete_before_replace) == (("functionName",), False)
    moved = world.diff("Function", {**FUNCTION, "resourceGroupId": "a"}, {**FUNCTION, "resourceGroupId": "b"})
    assert (moved.replaces, moved.delete_before_replace) == (("resourceGroupId",), True)


def test_a_field_taken_out_of_the_program_is_taken_away(with_function: World) -> None:
    with_description = {**FUNCTION, "description": "old"}
    with_function.update("Function", "chat-dev", with_description, FUNCTION, {})
    assert with_function.fake.bodies["update_function"]["description"] is None
    assert "functionName" not in with_function.fake.bodies["update_function"]


def test_tags_have_calls_of_their_own(with_function: World) -> None:
    old = {**FUNCTION, "tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    new = {**FUNCTION, "tags": [{"Key": "a", "Value": "9"}]}
    with_function.update("Function", "chat-dev", old, new, {"functionArn": "arn"})
    assert with_function.fake.calls[:2] == ["tag_resources", "untag_resources"]
    assert with_function.fake.bodies["tag_resources"]["tag"] == [{"Key": "a", "Value": "9"}]


def test_deleting_a_function_takes_its_left_versions_along(with_function: World) -> None:
    with_function.fake.answer("publish_function_version", ("chat-dev",), {}, {})
    with_function.delete("Function", "chat-dev")
    assert not with_function.fake.objects
    with_function.delete("Function", "chat-dev")  # what is gone already is no error


def test_any_change_publishes_a_new_version(with_function: World) -> None:
    inputs = {"functionName": "chat-dev", "description": "content 1"}
    first = with_function.create("FunctionVersion", inputs)
    assert (first.id, first.outputs["versionId"]) == ("chat-dev/1", "1")
    diff = with_function.diff("FunctionVersion", inputs, {**inputs, "description": "content 2"})
    assert (diff.replaces, diff.delete_before_replace) == (("description",), False)
    gone = run(with_function.provider.read(ReadRequest(urn("FunctionVersion"), "chat-dev/7", inputs, {})))
    assert gone.id == ""


def test_an_alias_without_a_pool_waits_for_nothing(with_function: World) -> None:
    with_function.create("Alias", {"functionName": "chat-dev", "aliasName": "live", "versionId": "1"})
    assert with_function.fake.calls[-1] == "get_provision_config chat-dev @live"


def test_moving_an_alias_waits_for_the_new_version_in_its_pool(with_function: World) -> None:
    alias = {"functionName": "chat-dev", "aliasName": "live", "versionId": "1"}
    result = with_function.create("Alias", alias)
    with_function.create("ProvisionConfig", POOL)
    with_function.fake.pool_error = "FunctionNotStarted: exit 1"
    with pytest.raises(InitFailed) as caught:
        with_function.update("Alias", result.id, alias, {**alias, "versionId": "2"}, result.outputs)
    assert "FunctionNotStarted: exit 1" in caught.value.reasons[0]
    assert caught.value.outputs["versionId"] == "2"


def test_a_canary_is_a_change_of_one_number_and_ends_when_it_is_taken_out(with_function: World) -> None:
    stable = {"functionName": "chat-dev", "aliasName": "live", "versionId": "1"}
    few = {**stable, "additionalVersionWeight": {"2": 0.05}}
    half = {**stable, "additionalVersionWeight": {"2": 0.5}}
    begun = with_function.diff("Alias", stable, few)
    assert (dict(begun.detailed), begun.replaces) == (
        {"additionalVersionWeight": PropertyDiff(DiffKind.ADD)},
        (),
    )
    more = with_function.diff("Alias", few, half)
    assert dict(more.detailed) == {"additionalVersionWeight.2": PropertyDiff(DiffKind.UPDATE)}
    ended = with_function.diff("Alias", half, stable)
    assert dict(ended.detailed) == {"additionalVersionWeight": PropertyDiff(DiffKind.DELETE)}
    assert not with_function.diff("Alias", few, {**few}).changes
    result = with_function.create("Alias", few)
    assert result.outputs["additionalVersionWeight"] == {"2": 0.05}
    with_function.update("Alias", result.id, few, stable, result.outputs)
    there = with_function.fake.objects["alias", "chat-dev", "live"]
    assert not there.get("additionalVersionWeight")


def test_a_pool_is_done_when_all_are_up() -> None:
    world = World(FakeFc(looks_until_up=3))
    world.create("Function", FUNCTION)
    result = world.create("ProvisionConfig", POOL)
    assert (result.id, result.outputs["current"], result.outputs["target"]) == ("chat-dev/live", 2, 2)
    assert ("0 of 2 instances up", True) in [(m, e) for _, m, e in world.said]


def test_a_pool_that_never_comes_up_ends_at_the_deadline() -> None:
    world = World(FakeFc(looks_until_up=10**9))
    world.create("Function", FUNCTION)
    with pytest.raises(InitFailed, match="Not ready after 60 s: 0 of 2 instances up"):
        world.create("ProvisionConfig", POOL, timeout_seconds=60.0)
    assert world.clock.seconds == pytest.approx(60.0, abs=1)


def test_an_error_that_fc_gets_over_is_waited_out(with_function: World) -> None:
    with_function.fake.pool_error = "An internal error has occurred"
    with pytest.raises(InitFailed, match="Not ready after 900 s"):
        with_function.create("ProvisionConfig", POOL)


def test_cancel_ends_the_wait_and_keeps_the_object() -> None:
    world = World(FakeFc(looks_until_up=10**9))
    world.create("Function", FUNCTION)
    run(world.provider.cancel())
    with pytest.raises(InitFailed, match="cancelled"):
        world.create("ProvisionConfig", POOL)


def test_flipping_the_idle_switch_warns_and_offers_the_other_way(world: World) -> None:
    idle = {**POOL, "alwaysAllocateGPU": False}
    assert "second alias" in world.diff("ProvisionConfig", idle, POOL).warnings[0]
    assert world.diff("ProvisionConfig", POOL, {**POOL, "alwaysAllocateGPU": True}).warnings == ()
    assert world.diff("ProvisionConfig", POOL, {**POOL, "defaultTarget": 3}).warnings == ()


def test_bad_schedules_are_found_at_check(world: World) -> None:
    actions = [
        {"name": "a", "target": 1, "scheduleExpression": "cron(0 0 25 * * *)"},
        {"name": "b", "target": 1, "scheduleExpression": UNKNOWN},
    ]
    inputs = {**POOL, "scheduledActions": actions}
    checked = run(world.provider.check(CheckRequest(urn("ProvisionConfig"), None, inputs)))
    assert [f.property for f in checked.failures] == ["scheduledActions[0].scheduleExpression"]


def test_deleting_a_pool_waits_until_it_is_gone(with_function: World) -> None:
    with_function.create("ProvisionConfig", POOL)
    with_function.delete("ProvisionConfig", "chat-dev/live")
    assert with_function.fake.calls[-2:] == [
        "delete_provision_config chat-dev @live",
        "get_provision_config chat-dev @live",
    ]


def test_an_instance_limit(with_function: World) -> None:
    inputs = {"functionName": "chat-dev", "reservedConcurrency": 3}
    result = with_function.create("ConcurrencyConfig", inputs)
    with_function.update("ConcurrencyConfig", result.id, inputs, {**inputs, "reservedConcurrency": 5}, {})
    read = run(with_function.provider.read(ReadRequest(urn("ConcurrencyConfig"), result.id, inputs, {})))
    assert read.inputs == {**inputs, "reservedConcurrency": 5}


def test_a_trigger_with_tokens_is_secret_and_one_without_is_not(with_function: World) -> None:
    base = {"functionName": "chat-dev", "triggerName": "http", "triggerType": "http", "qualifier": "live"}
    opened = with_function.create("Trigger", {**base, "triggerConfig": '{"authType": "anonymous"}'})
    assert opened.outputs["httpTrigger"]["urlInternet"].endswith("/fn/chat-dev.live")
    assert opened.outputs["triggerConfig"] == '{"authType": "anonymous"}'
    closed = {
        **base,
        "triggerConfig": '{"authType": "bearer", "authConfig": "{\\"tokens\\": [{\\"token\\": \\"t\\"}]}"}',
    }
    checked = run(with_function.provider.check(CheckRequest(urn("Trigger"), None, closed)))
    assert checked.failures == ()
    assert isinstance(checked.inputs["triggerConfig"], Secret)
    renamed = with_function.diff("Trigger", closed, {**closed, "triggerName": "web"})
    assert (renamed.replaces, renamed.delete_before_replace) == (("triggerName",), True)


def test_a_custom_domain_keeps_its_key_secret(world: World) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"
    cert = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
    inputs = {
        "domainName": "chat.example.com",
        "protocol": "HTTPS",
        "certConfig": {"certName": "c", "certificate": cert, "privateKey": pem},
    }
    result = world.create("CustomDomain", inputs)
    assert result.outputs["certConfig"]["privateKey"] == Secret(pem)
    assert world.fake.bodies["create_custom_domain"]["certConfig"]["privateKey"] == pem


def test_an_import_reads_the_inputs_back(with_function: World) -> None:
    read = run(with_function.provider.read(ReadRequest(urn("Function"), "chat-dev", {}, {})))
    assert read.inputs is not None
    assert {k: read.inputs[k] for k in FUNCTION} == FUNCTION


def test_trouble_that_passes_is_tried_again(world: World) -> None:
    world.fake.fail["create_function"] = [FcError("ConcurrentUpdateError", 409, "busy")] * 2
    assert world.create("Function", FUNCTION).id == "chat-dev"
    assert world.fake.calls.count("create_function") == 3


@pytest.mark.parametrize(
    ("error", "code", "exit_code", "hint"),
    [
        (
            FcError("SignatureNotMatch", 403, "no"),
            "wrong-credentials",
            Exit.AUTHENTICATION,
            "tickover host status",
        ),
        (FcError("ResourceExhausted", 429, "full"), "out-of-capacity", Exit.RESOURCE, ""),
        (FcError("InvalidArgument", 400, "no"), "refused-by-fc", Exit.RESOURCE, ""),
        (Unreachable("http://fc.test", "refused"), "host-not-running", Exit.ERROR, "tickover host start"),
    ],
)
def test_errors_say_what_to_do(world: World, error: Any, code: str, exit_code: Exit, hint: str) -> None:
    world.fake.fail["create_function"].append(error)
    with pytest.raises(TickoverError) as caught:
        world.create("Function", FUNCTION)
    assert (caught.value.code, caught.value.exit_code, caught.value.hint) == (code, exit_code, hint)
    assert "hush" not in str(caught.value)


def test_an_unknown_type_names_the_known_ones(world: World) -> None:
    with pytest.raises(TickoverError) as caught:
        run(world.provider.check(CheckRequest(urn("Funktion"), None, {})))
    assert "tickover:fc:Function" in caught.value.hint
