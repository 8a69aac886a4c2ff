"""The provider protocol, seen by a plugin that is written against Pulumi's own servicer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from tests.support.plugin_judge import recorded
from tests.support.plugin_open import PROVIDER_URN, URN, Said, opened
from tickover.engine import wire
from tickover.engine.plugins.errors import OutcomeUnknown
from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffKind,
    DiffRequest,
    InitFailed,
    PropertyDiff,
    ReadRequest,
    Severity,
    Unavailable,
    Unimplemented,
    UpdateRequest,
)
from tickover.engine.values import UNKNOWN, Asset, ResourceReference, Secret
from tickover.engine.wire import SECRET_SIG, SIG_KEY, UNKNOWN_STRING
from tickover.errors import TickoverError

ALL = "secrets,resources,outputs,preview"
REFERENCE = ResourceReference("urn:pulumi:dev::p::judge:index:Thing::other", "other-1")
KEY = Secret("hunter2")


def run(folder: Path, work: Any, accepts: str = "", **more: Any) -> Any:
    async def go() -> Any:
        async with opened(folder, accepts, **more) as provider:
            return await work(provider)

    return asyncio.run(go())


def sent(folder: Path, verb: str) -> dict[str, Any]:
    [request] = recorded(folder / "record.jsonl", verb)
    return request


def test_configure_says_both_forms_and_what_the_engine_does(tmp_path: Path) -> None:
    async def configure(provider: Any) -> bool:
        inputs = {"list": ["a", 1], "key": KEY, "version": "1.0.0", "__internal": {"x": "y"}}
        await provider.configure(ConfigureRequest(inputs, PROVIDER_URN, "id-1"))
        return provider.supports_preview

    assert run(tmp_path, configure, ALL, configured=False) is True
    request = sent(tmp_path, "Configure")
    assert request["variables"] == {"judge:config:list": '["a",1]', "judge:config:key": "hunter2"}
    assert request["args"] == {
        "list": ["a", 1],
        "key": {SIG_KEY: SECRET_SIG, "value": "hunter2"},
        "version": "1.0.0",
    }
    flags = ("acceptSecrets", "acceptResources", "sends_old_inputs", "sends_old_inputs_to_delete")
    assert all(request[flag] for flag in flags)
    assert (request["urn"], request["id"], request["name"], request["type"]) == (
        PROVIDER_URN,
        "id-1",
        "default",
        "pulumi:providers:judge",
    )


def test_a_handshake_outweighs_what_configure_answers(tmp_path: Path) -> None:
    async def check(provider: Any) -> bool:
        before = provider.supports_preview
        await provider.configure(ConfigureRequest({}, PROVIDER_URN))
        await provider.check(CheckRequest(URN, None, {"key": KEY, "ref": REFERENCE}))
        return before and provider.supports_preview

    assert run(tmp_path, check, "handshake,secrets", configured=False) is True
    assert sent(tmp_path, "Handshake")["configure_with_urn"] is True
    news = sent(tmp_path, "Check")["news"]
    assert news == {"key": {SIG_KEY: SECRET_SIG, "value": "hunter2"}, "ref": "other-1"}


def test_missing_configuration_is_one_error_that_names_the_keys(tmp_path: Path) -> None:
    async def configure(provider: Any) -> None:
        await provider.configure(ConfigureRequest({"missing": True}, PROVIDER_URN))

    with pytest.raises(TickoverError) as caught:
        run(tmp_path, configure, configured=False)
    assert caught.value.code == "provider-config-missing"
    assert "judge:token: the token to log in with" in caught.value.detail
    assert caught.value.hint == "tickover config set judge:token VALUE"


@pytest.mark.parametrize("accepts", ["", ALL])
def test_secrets_reach_only_a_peer_that_takes_them_and_come_back_secret(tmp_path: Path, accepts: str) -> None:
    news = {"key": KEY, "open": "text", "deep": {"in": KEY, "out": 1}, "many": [KEY, "b"], "ref": REFERENCE}

    async def go(provider: Any) -> tuple[Any, Any]:
        checked = await provider.check(CheckRequest(URN, {"key": KEY}, news, b"seed"))
        return checked, await provider.create(CreateRequest(URN, news, 90.0))

    checked, created = run(tmp_path, go, accepts)
    for request in (sent(tmp_path, "Check"), sent(tmp_path, "Create")):
        values = request.get("news") or request["properties"]
        wrapped = {SIG_KEY: SECRET_SIG, "value": "hunter2"}
        assert values["key"] == (wrapped if accepts else "hunter2")
        assert values["ref"] == "other-1" if not accepts else values["ref"]["id"] == "other-1"
    many = [KEY, "b"] if accepts else Secret(["hunter2", "b"])
    expected = {"key": KEY, "open": "text", "deep": {"in": KEY, "out": 1}, "many": many}
    expected["ref"] = REFERENCE if accepts else "other-1"
    assert checked.inputs == expected
    assert created.outputs == expected
    assert (created.id, created.refresh_before_update) == ("new", True)
    assert sent(tmp_path, "Check")["randomSeed"] == "c2VlZA=="
    assert sent(tmp_path, "Create")["timeout"] == 90


def test_check_failures_are_pairs(tmp_path: Path) -> None:
    result = run(tmp_path, lambda p: p.check(CheckRequest(URN, None, {"bad": 1})))
    assert result.failures == (CheckFailure("bad", "bad must not be given"),)
    assert sent(tmp_path, "Check")["olds"] == {}  # older servers do not bear its absence


def test_unknowns_go_where_the_protocol_has_them(tmp_path: Path) -> None:
    news = {"a": UNKNOWN, "b": "x"}

    async def go(provider: Any) -> Any:
        await provider.check(CheckRequest(URN, None, news))
        await provider.diff(DiffRequest(URN, "i", {}, {}, news))
        preview = await provider.create(CreateRequest(URN, news, preview=True))
        await provider.update(UpdateRequest(URN, "i", {}, {}, news, preview=True))
        await provider.create(CreateRequest(URN, news))
        return preview

    preview = run(tmp_path, go, ALL)
    assert preview.outputs == {"a": UNKNOWN, "b": "x"}
    record = tmp_path / "record.jsonl"
    first, second = (r["properties"] for r in recorded(record, "Create"))
    assert first == {"a": UNKNOWN_STRING, "b": "x"}
    assert second == {"b": "x"}
    for verb in ("Check", "Diff", "Update"):
        assert sent(tmp_path, verb)["news"] == {"a": UNKNOWN_STRING, "b": "x"}


def test_every_field_of_a_detailed_diff(tmp_path: Path) -> None:
    request = DiffRequest(URN, "i", {"a": 1}, {"a": 1, "arn": "x"}, {"do": "detailed"}, ("c",))
    result = run(tmp_path, lambda p: p.diff(request))
    assert result.changes is True
    assert result.replaces == ("a",)
    assert result.stables == ("arn",)
    assert result.delete_before_replace
    assert result.detailed == {
        "a.b": PropertyDiff(DiffKind.UPDATE_REPLACE, False),
        "c[0]": PropertyDiff(DiffKind.DELETE, True),
    }
    message = sent(tmp_path, "Diff")
    assert message["olds"] == {"a": 1, "arn": "x"}
    assert message["old_inputs"] == {"a": 1}
    assert message["ignoreChanges"] == ["c"]
    assert (message["name"], message["type"]) == ("one", "judge:index:Thing")


def test_diffs_of_older_providers(tmp_path: Path) -> None:
    async def go(provider: Any) -> list[Any]:
        olds = {"size": 1, "gone": 2}
        news: list[dict[str, Any]] = [
            {"do": "none"},
            {"do": "unknown"},
            {"do": "keys", "size": 2, "new": 3},
        ]
        return [await provider.diff(DiffRequest(URN, "i", olds, olds, new)) for new in news]

    none, unknown, keys = run(tmp_path, go)
    assert none.changes is False
    assert unknown.changes is None
    assert keys.changes is True
    assert (keys.replaces, keys.changed_keys) == (("size",), ("new", "gone", "size"))
    assert keys.detailed == {}


def test_a_configuration_that_the_provider_judges(tmp_path: Path) -> None:
    async def go(provider: Any) -> tuple[Any, Any]:
        news = {"region": "there", "key": KEY, "later": UNKNOWN}
        checked = await provider.check_config(CheckRequest(PROVIDER_URN, None, news))
        return checked, await provider.diff_config(
            DiffRequest(PROVIDER_URN, "", {}, {"region": "here"}, news)
        )

    checked, diff = run(tmp_path, go, "config")
    assert checked.inputs == {"region": "there", "key": KEY, "later": UNKNOWN}
    assert diff.replaces == ("region",)
    assert sent(tmp_path, "CheckConfig")["news"]["key"] == "hunter2"  # no peer takes secrets there


def test_a_configuration_that_the_provider_does_not_judge(tmp_path: Path) -> None:
    async def go(provider: Any) -> None:
        with pytest.raises(Unimplemented):
            await provider.check_config(CheckRequest(PROVIDER_URN, None, {}))
        with pytest.raises(Unimplemented):
            await provider.diff_config(DiffRequest(PROVIDER_URN, "", {}, {}, {}))

    run(tmp_path, go)


def test_unknown_configuration_leaves_the_provider_alone(tmp_path: Path) -> None:
    async def go(provider: Any) -> None:
        await provider.configure(ConfigureRequest({"region": UNKNOWN}, PROVIDER_URN))
        assert (await provider.check(CheckRequest(URN, None, {"a": 1}))).inputs == {"a": 1}
        with pytest.raises(Unavailable):
            await provider.diff(DiffRequest(URN, "i", {}, {}, {}))
        assert (await provider.create(CreateRequest(URN, {"a": 1}, preview=True))).outputs == {}
        assert (await provider.update(UpdateRequest(URN, "i", {}, {}, {"a": 1}, preview=True))).outputs == {}
        assert (await provider.read(ReadRequest(URN, "i", {}, {}))).outputs == {}
        assert (await provider.invoke("judge:index:f", {})).outputs == {}

    run(tmp_path, go, configured=False)
    for verb in ("Configure", "Check", "Diff", "Create", "Update", "Read", "Invoke"):
        assert recorded(tmp_path / "record.jsonl", verb) == []


def test_update_delete_and_read_say_old_and_new(tmp_path: Path) -> None:
    asset = Asset(text="hello", hash="ab")

    async def go(provider: Any) -> Any:
        await provider.update(UpdateRequest(URN, "i", {"a": 1}, {"o": 1}, {"a": 2}, 30.0, ("x",)))
        await provider.delete(DeleteRequest(URN, "i", {"a": 1}, {"o": 1}, 15.0))
        gone = await provider.read(ReadRequest(URN, "gone", {}, {"o": 1}))
        return gone, await provider.read(ReadRequest(URN, "i", {"a": KEY, "f": asset}, {"a": KEY}))

    gone, found = run(tmp_path, go)
    assert gone.id == ""
    assert (found.id, found.inputs, found.outputs) == ("i", {"a": KEY, "f": asset}, {"a": KEY})
    update, delete = sent(tmp_path, "Update"), sent(tmp_path, "Delete")
    assert (update["olds"], update["old_inputs"], update["news"]) == ({"o": 1}, {"a": 1}, {"a": 2})
    assert (update["timeout"], update["ignoreChanges"]) == (30, ["x"])
    assert (delete["properties"], delete["old_inputs"], delete["timeout"]) == ({"o": 1}, {"a": 1}, 15)
    bare, full = recorded(tmp_path / "record.jsonl", "Read")
    assert "inputs" not in bare
    assert full["inputs"]["a"] == "hunter2"


def test_a_half_made_object_keeps_its_id_its_secrets_and_its_reasons(tmp_path: Path) -> None:
    async def go(provider: Any) -> InitFailed:
        with pytest.raises(InitFailed) as caught:
            await provider.create(CreateRequest(URN, {"do": "partial", "key": KEY}))
        return caught.value

    failed = run(tmp_path, go)
    assert failed.id == "half"
    assert failed.reasons == ("never got ready",)
    assert failed.outputs == failed.inputs == {"do": "partial", "key": KEY}


def test_a_half_done_update_keeps_the_id(tmp_path: Path) -> None:
    async def go(provider: Any) -> InitFailed:
        with pytest.raises(InitFailed) as caught:
            await provider.update(UpdateRequest(URN, "i-1", {}, {}, {"do": "partial"}))
        return caught.value

    failed = run(tmp_path, go)
    assert (failed.id, failed.reasons, failed.inputs) == ("i-1", ("half done",), None)


def test_an_object_made_with_open_values_is_kept_as_not_ready(tmp_path: Path) -> None:
    async def go(provider: Any) -> InitFailed:
        with pytest.raises(InitFailed) as caught:
            await provider.create(CreateRequest(URN, {"do": "open"}))
        return caught.value

    failed = run(tmp_path, go)
    assert (failed.id, failed.outputs) == ("new", {"do": "open"})


def test_a_provider_that_dies_in_create_leaves_the_outcome_open(tmp_path: Path) -> None:
    async def go(provider: Any) -> tuple[TickoverError, TickoverError]:
        with pytest.raises(OutcomeUnknown) as during:
            await provider.create(CreateRequest(URN, {"do": "die", "key": KEY}))
        with pytest.raises(TickoverError) as after:
            await provider.create(CreateRequest(URN, {}))
        return during.value, after.value

    during, after = run(tmp_path, go)
    assert during.code == after.code == "provider-died"
    assert "Its exit code was 7" in during.detail
    assert "panic: cannot go on with" in during.detail
    assert "hunter2" not in str(during)
    assert not isinstance(after, OutcomeUnknown)  # it was never sent
    assert during.address == URN


@pytest.mark.parametrize("do", ["unavailable", "no-id"])
def test_an_outcome_that_nobody_knows(tmp_path: Path, do: str) -> None:
    async def go(provider: Any) -> None:
        with pytest.raises(OutcomeUnknown):
            await provider.create(CreateRequest(URN, {"do": do}))

    run(tmp_path, go)


def test_a_delete_that_took_too_long_is_open_too(tmp_path: Path) -> None:
    async def go(provider: Any) -> None:
        with pytest.raises(OutcomeUnknown, match="still deleting"):
            await provider.delete(DeleteRequest(URN, "stuck", {}, {}))

    run(tmp_path, go)


def test_an_error_is_the_providers_sentence_without_frames_and_secrets(tmp_path: Path) -> None:
    async def go(provider: Any) -> TickoverError:
        with pytest.raises(TickoverError) as caught:
            await provider.create(CreateRequest(URN, {"do": "raise", "key": KEY}))
        return caught.value

    error = run(tmp_path, go)
    assert not isinstance(error, OutcomeUnknown)
    assert (error.code, error.summary) == ("provider-failed", "Create failed")
    assert error.detail == "ValueError: no such key [secret]"


def test_closing_ends_a_call_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.engine.plugins.process.PluginProcess.stop.__defaults__", (0.4,))
    said = Said()

    async def go(provider: Any) -> None:
        call = asyncio.create_task(provider.create(CreateRequest(URN, {"do": "hang"})))
        await said.until("hanging")
        await provider.close()
        with pytest.raises(OutcomeUnknown):
            await call

    run(tmp_path, go, said=said)


def test_a_property_of_many_megabytes_passes(tmp_path: Path) -> None:
    news = {"text": "x" * 12_000_000}
    made = run(tmp_path, lambda p: p.create(CreateRequest(URN, news)))
    assert made.outputs == news


def test_a_function_given_a_secret_answers_secrets(tmp_path: Path) -> None:
    async def go(provider: Any) -> tuple[Any, Any]:
        return await provider.invoke("judge:index:f", {"k": KEY}), await provider.invoke("judge:index:f", {})

    secret, open_ = run(tmp_path, go)
    assert secret.outputs == {"answer": Secret(42)}
    assert open_.outputs == {"answer": 42}


@pytest.mark.parametrize("accepts", ["secrets", "secrets,outputs,resources"])
def test_components_get_output_values_where_they_take_them(tmp_path: Path, accepts: str) -> None:
    output = {SIG_KEY: wire.OUTPUT_SIG, "value": "x", "dependencies": ["urn:pulumi:dev::p::t::d"]}

    async def go(provider: Any) -> None:
        request = provider_pb2.ConstructRequest(type="judge:index:C", name="c")
        request.inputs.update({"o": output})
        await provider.construct(request)
        call = provider_pb2.CallRequest(tok="judge:index:C/m")
        call.args.update({"o": output})
        await provider.call(call)
        assert request.inputs["o"]["value"] == "x"  # the caller's request is as it was

    run(tmp_path, go, accepts)
    kept = output if "outputs" in accepts else "x"
    assert sent(tmp_path, "Construct")["inputs"]["o"] == kept
    assert sent(tmp_path, "Call")["args"]["o"] == kept


def test_components_need_a_provider_that_keeps_secrets(tmp_path: Path) -> None:
    async def go(provider: Any) -> None:
        with pytest.raises(TickoverError) as caught:
            await provider.construct(provider_pb2.ConstructRequest(type="judge:index:C", name="c"))
        assert caught.value.code == "provider-no-secrets"

    run(tmp_path, go)


def test_the_providers_log_reaches_ours(tmp_path: Path) -> None:
    said = Said()

    async def go(provider: Any) -> None:
        await provider.create(CreateRequest(URN, {"do": "log"}))

    run(tmp_path, go, said=said)
    assert (Severity.WARNING, URN, "slow today", True) in said.lines
