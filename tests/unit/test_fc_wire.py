"""The wire form: names, bodies, secrets, the official client as judge, and any JSON at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fc_examples import ACTION, ALIAS, CPU, DOMAIN, FULL, GPU, POOL, TRIGGER
from tickover.fc import alias, concurrency, domain, function, provision, session, trigger, version
from tickover.fc.base import wire_names
from tickover.fc.gpu import CATALOGUE
from tickover.fc.limits import Whole
from tickover.fc.validate import InvalidResource, nested_models, parse, violations

GOOD = [
    (function.Function, CPU),
    (function.Function, GPU),
    (provision.ProvisionConfig, {**POOL, "alwaysAllocateGPU": False, "scheduledActions": [ACTION]}),
    (provision.ProvisionConfig, {**POOL, "defaultTarget": 0, "qualifier": "LATEST"}),
    (trigger.Trigger, TRIGGER),
    (domain.CustomDomain, DOMAIN),
    (alias.Alias, {**ALIAS, "additionalVersionWeight": {"4": 0.05}}),
    (version.FunctionVersion, {"functionName": "chat-dev", "description": "content 1"}),
    (concurrency.ConcurrencyConfig, {"functionName": "chat-dev", "reservedConcurrency": 3}),
]


@pytest.mark.parametrize(("model", "wire"), GOOD, ids=[m.__name__ for m, _ in GOOD])
def test_a_good_resource_comes_back_as_it_was(model, wire):
    assert violations(model, wire) == ()
    assert parse(model, wire).to_wire() == wire


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        (trigger.Trigger, {**TRIGGER, "triggerConfig": f'{{"authType": "bearer", {SECRET}'}),
        (
            trigger.Trigger,
            {
                **TRIGGER,
                "triggerConfig": json.dumps(
                    {"authType": "bearer", "authConfig": f'{{"tokens": ["{SECRET}"]}}'}
                ),
            },
        ),
        (
            trigger.Trigger,
            {
                **TRIGGER,
                "triggerConfig": json.dumps(
                    {"authType": "bearer", "authConfig": json.dumps({"tokens": [{"token": f"{SECRET} x"}]})}
                ),
            },
        ),
        (domain.CertConfig, {"certName": "c", "certificate": SECRET, "privateKey": SECRET}),
        (
            function.Function,
            {
                **CPU,
                "environmentVariables": {"1": SECRET},
                "customContainerConfig": {"image": f"u:{SECRET}@r/x"},
            },
        ),
    ],
)
def test_no_message_repeats_a_secret(model, wire):
    found = violations(model, wire)
    assert found
    assert SECRET not in "\n".join(map(str, found))


def test_no_repr_shows_a_secret():
    config = {"authType": "bearer", "authConfig": json.dumps({"tokens": [{"token": SECRET}]})}
    registry = {"authConfig": {"userName": "u", "password": SECRET}}
    made = [
        parse(trigger.Trigger, {**TRIGGER, "triggerConfig": json.dumps(config)}),
        parse(trigger.HttpTriggerConfig, config),
        parse(
            function.Function,
            {
                **CPU,
                "environmentVariables": {"TOKEN": SECRET},
                "customContainerConfig": {"image": "x", "registryConfig": registry},
            },
        ),
    ]
    for resource in made:
        assert SECRET in json.dumps(resource.to_wire())
        assert SECRET not in repr(resource)


def test_bodies_leave_out_what_is_in_the_path_or_fixed():
    made = parse(function.Function, {**CPU, "tags": [{"Key": "a", "Value": "b"}]})
    assert made.to_body()["functionName"] == "chat-dev"
    assert {"functionName", "tags"}.isdisjoint(made.to_body(update=True))
    assert parse(provision.ProvisionConfig, POOL).to_body() == {"defaultTarget": 1}
    assert parse(alias.Alias, ALIAS).to_body() == {"aliasName": "live", "versionId": "3"}
    assert parse(alias.Alias, ALIAS).to_body(update=True) == {"versionId": "3"}


def test_models_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parse(function.Function, CPU).cpu = 4


@pytest.mark.parametrize(
    ("ours", "theirs", "left_out"),
    [
        (function.Function, sdk.CreateFunctionInput, {"code", "customRuntimeConfig", "microSandboxConfig"}),
        (provision.ProvisionConfig, sdk.PutProvisionConfigInput, set()),
        (trigger.Trigger, sdk.CreateTriggerInput, set()),
        (trigger.HttpTriggerConfig, sdk.HTTPTriggerConfig, set()),
        (alias.Alias, sdk.CreateAliasInput, set()),
        (version.FunctionVersion, sdk.PublishVersionInput, set()),
        (concurrency.ConcurrencyConfig, sdk.PutConcurrencyInput, set()),
        (domain.CustomDomain, sdk.CreateCustomDomainInput, set()),
        (session.CookieAffinity, sdk.CookieSessionAffinityConfig, set()),
        (session.HeaderAffinity, sdk.HeaderFieldSessionAffinityConfig, set()),
        (session.McpSseAffinity, sdk.MCPSSESessionAffinityConfig, set()),
        (session.McpStreamableAffinity, sdk.MCPStreamableSessionAffinityConfig, set()),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_names_are_those_of_the_official_client(ours, theirs, left_out):
    """Top-level names one to one, and nested objects survive a journey through the client's own models."""
    known = _wire_names_of(theirs)
    mine = {n for n in wire_names(ours).values() if n not in ours.in_path}
    assert mine == known - left_out


def _wire_names_of(theirs: type) -> set[str]:
    """What `to_map` writes when every attribute is set."""

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return lambda *args: {}

        def __iter__(self) -> Any:
            return iter(())

    made = theirs()
    for attribute in vars(made):
        setattr(made, attribute, Anything())
    return set(made.to_map())


def test_a_full_function_survives_the_official_client():
    wire = parse(function.Function, FULL).to_wire()
    assert wire == FULL
    assert sdk.CreateFunctionInput().from_map(wire).to_map() == wire


def test_json_schema_carries_the_limits():
    schema = function.Function.model_json_schema(by_alias=True)
    assert schema["properties"]["timeout"]["anyOf"][0] == {
        "maximum": 86400,
        "minimum": 1,
        "type": "integer",
    }
    assert schema["$defs"]["GpuConfig"]["properties"]["gpuType"]["enum"] == list(CATALOGUE)


def test_nested_models_are_found_through_lists():
    assert nested_models(function.NasConfig) == {"mountPoints": function.NasMountPoint}


def test_steps_at_the_edge_of_a_range_suggest_only_what_is_allowed():
    with pytest.raises(ValueError, match=r"the nearest is 10$"):
        Whole(5, 14, 10).check(14)


KEYS = sorted({*wire_names(function.Function).values(), *wire_names(trigger.HttpTriggerConfig).values()})
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("{}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(wire_names(function.Function).values())) | st.text(), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in places(item, (*at, key)))]


def replaced(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], junk)
    return changed


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_json_is_either_parsed_or_refused(data):
    model, wire = data.draw(st.sampled_from([(function.Function, FULL), *GOOD]))
    for _ in range(data.draw(st.integers(1, 3))):
        wire = replaced(wire, data.draw(st.sampled_from(places(wire))), data.draw(JUNK))
    found = violations(model, wire)
    if found:
        assert all(v.message.endswith((".", "?")) for v in found)
        assert len(set(found)) == len(found)
        with pytest.raises(InvalidResource):
            parse(model, wire)
    else:
        made = parse(model, wire)
        assert parse(model, made.to_wire()) == made
