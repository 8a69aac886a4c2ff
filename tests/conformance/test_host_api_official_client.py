"""The FC API of the host, driven by Alibaba's own Python client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client

from tests.support.host_edge_server import Served, served

ECHO = json.dumps({"authType": "anonymous", "methods": ["GET", "POST"]})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def client(host: Served) -> Client:
    return host.client()


def refused(call: Any, *arguments: Any) -> tuple[int, str, str]:
    """Status, code and message of a call that must fail."""
    with pytest.raises(Exception) as caught:  # the client has two families of errors
        call(*arguments)
    error = caught.value
    return error.status_code, error.code, error.message


def spec(name: str, **more: Any) -> fc.CreateFunctionRequest:
    container = fc.CustomContainerConfig(image="process://local", command=["serve", "${port}"], port=9000)
    fields = {
        "function_name": name,
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 2,
        "memory_size": 2048,
        "disk_size": 512,
        "timeout": 60,
        "custom_container_config": container,
        **more,
    }
    return fc.CreateFunctionRequest(body=fc.CreateFunctionInput(**fields))


@pytest.fixture
def name(client: Client, request: pytest.FixtureRequest) -> str:
    """A function of the test's own."""
    own = "f-" + request.node.name.split("[")[0][5:60].replace("_", "-")
    client.create_function(spec(own))
    return own


def publish(client: Client, name: str) -> str:
    answer = client.publish_function_version(
        name, fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput(description="d"))
    )
    return str(answer.body.version_id)


def alias(client: Client, name: str, alias_name: str, version: str) -> Any:
    body = fc.CreateAliasInput(alias_name=alias_name, version_id=version)
    return client.create_alias(name, fc.CreateAliasRequest(body=body)).body


def trigger(client: Client, name: str, trigger_name: str, qualifier: str, config: str = ECHO) -> Any:
    body = fc.CreateTriggerInput(
        trigger_name=trigger_name, trigger_type="http", trigger_config=config, qualifier=qualifier
    )
    return client.create_trigger(name, fc.CreateTriggerRequest(body=body)).body


def provision(client: Client, name: str, qualifier: str, **fields: Any) -> Any:
    body = fc.PutProvisionConfigInput(**fields)
    request = fc.PutProvisionConfigRequest(body=body, qualifier=qualifier)
    return client.put_provision_config(name, request).body


def test_whole_life_of_a_function(client: Client, host: Served) -> None:
    made = client.create_function(spec("life", environment_variables={"A": "1"})).body
    assert made.state == "Active"
    assert made.last_update_status == "Successful"
    assert made.function_arn == f"acs:fc:local:{host.credentials.account_id}:functions/life"
    assert made.created_time.endswith("Z")
    read = client.get_function("life", fc.GetFunctionRequest()).body
    assert read.to_map() == made.to_map()

    assert publish(client, "life") == "1"
    live = alias(client, "life", "live", "1")
    assert (live.alias_name, live.version_id) == ("live", "1")
    pool = provision(
        client, "life", "live", default_target=1, always_allocate_cpu=False, always_allocate_gpu=False
    )
    assert (pool.default_target, pool.target, pool.current, pool.always_allocate_gpu) == (1, 1, 1, False)
    assert pool.function_arn.endswith("functions/life/live")
    web = trigger(client, "life", "web", "live")
    assert web.http_trigger.url_internet == f"{host.url}/fn/life.live"

    update = fc.UpdateFunctionRequest(body=fc.UpdateFunctionInput(environment_variables={"A": "2"}))
    assert client.update_function("life", update).body.environment_variables == {"A": "2"}
    assert publish(client, "life") == "2"
    old = client.get_function("life", fc.GetFunctionRequest(qualifier="1")).body
    assert old.environment_variables == {"A": "1"}
    moved = client.update_alias(
        "life", "live", fc.UpdateAliasRequest(body=fc.UpdateAliasInput(version_id="2"))
    )
    assert moved.body.version_id == "2"

    status, code, message = refused(client.delete_function, "life")
    assert (status, code) == (400, "ProvisionConfigExist")
    assert "live" in message
    assert refused(client.delete_function_version, "life", "2")[:2] == (409, "VersionInUse")
    client.delete_provision_config("life", fc.DeleteProvisionConfigRequest(qualifier="live"))
    client.delete_trigger("life", "web")
    client.delete_alias("life", "live")
    client.delete_function_version("life", "2")
    assert publish(client, "life") == "3"
    client.delete_function("life")
    assert refused(client.get_function, "life", fc.GetFunctionRequest())[:2] == (404, "FunctionNotFound")
    assert host.pool.notified > 0


def test_wrong_secret_is_refused_as_fc_refuses_it(host: Served) -> None:
    wrong = host.client(secret="not the secret")
    status, code, message = refused(wrong.list_functions, fc.ListFunctionsRequest())
    assert (status, code) == (403, "SignatureNotMatch")
    assert "not the secret" not in message
    assert host.credentials.access_key_secret not in message


def test_wrong_key_id_is_refused_as_fc_refuses_it(host: Served) -> None:
    unknown = host.client(access_key_id="LTAIunknown")
    assert refused(unknown.list_functions, fc.ListFunctionsRequest())[0] == 403


def test_functions_are_listed_by_prefix_in_pages(client: Client) -> None:
    for number in range(5):
        client.create_function(spec(f"page-{number}"))
    seen, token = [], None
    while True:
        request = fc.ListFunctionsRequest(prefix="page-", limit=2, next_token=token)
        body = client.list_functions(request).body
        seen.append([f.function_name for f in body.functions])
        token = body.next_token
        if not token:
            break
    assert seen == [["page-0", "page-1"], ["page-2", "page-3"], ["page-4"]]


def test_all_violations_are_told_at_once(client: Client) -> None:
    status, code, message = refused(client.create_function, spec("1bad", timeout=0, instance_concurrency=999))
    assert (status, code) == (400, "InvalidArgument")
    for path in ("functionName", "timeout", "instanceConcurrency"):
        assert path in message


def test_a_setting_of_this_host_that_cannot_be_is_refused(client: Client) -> None:
    variables = {"TICKOVER_START_DEADLINE_SECONDS": "ten minutes", "TICKOVER_LINGER_SECONDS": "5"}
    status, code, message = refused(client.create_function, spec("odd", environment_variables=variables))
    assert (status, code) == (400, "InvalidArgument")
    assert "TICKOVER_START_DEADLINE_SECONDS must be a number of seconds from 1 to 86400" in message
    assert "TICKOVER_LINGER_SECONDS" not in message


def test_absent_nas_folder_and_model_are_named(client: Client, host: Served) -> None:
    def with_nas(server: str) -> fc.CreateFunctionRequest:
        mount = fc.NASMountConfig(server_addr=server, mount_dir="/mnt/models")
        container = fc.CustomContainerConfig(
            image="process://local", command=["serve", "--model", "/mnt/models/tiny/x.gguf"]
        )
        nas = fc.NASConfig(mount_points=[mount], user_id=0, group_id=0)
        vpc = fc.VPCConfig(vpc_id="vpc-1", v_switch_ids=["vsw-1"], security_group_id="sg-1")
        return spec("nas", nas_config=nas, custom_container_config=container, vpc_config=vpc)

    status, code, message = refused(client.create_function, with_nas("local:/models"))
    assert (status, code) == (400, "InvalidArgument")
    assert str(host.home / "nas" / "models") in message
    assert "tickover model pull" in message
    (host.home / "nas" / "models").mkdir()
    message = refused(client.create_function, with_nas("local:/models"))[2]
    assert str(host.home / "nas" / "models" / "tiny" / "x.gguf") in message
    assert "not known to this host" in refused(client.create_function, with_nas("other:/models"))[2]
    assert ".." in refused(client.create_function, with_nas("local:/../models"))[2]
    (host.home / "nas" / "models" / "tiny").mkdir()
    (host.home / "nas" / "models" / "tiny" / "x.gguf").touch()
    assert client.create_function(with_nas("local:/models")).body.state == "Active"


def test_duplicates_are_conflicts(client: Client, name: str) -> None:
    assert refused(client.create_function, spec(name))[:2] == (409, "FunctionAlreadyExists")
    publish(client, name)
    alias(client, name, "live", "1")
    assert refused(alias, client, name, "live", "1")[:2] == (409, "AliasAlreadyExists")
    trigger(client, name, "web", "live")
    assert refused(trigger, client, name, "web", "LATEST")[:2] == (409, "TriggerAlreadyExists")
    status, code, message = refused(trigger, client, name, "other", "live")
    assert (status, code) == (409, "TriggerAlreadyExists")
    assert "'web'" in message


def test_alias_needs_an_existing_version(client: Client, name: str) -> None:
    assert refused(alias, client, name, "live", "7")[:2] == (404, "VersionNotFound")
    assert refused(alias, client, "nobody", "live", "1")[:2] == (404, "FunctionNotFound")
    publish(client, name)
    alias(client, name, "live", "1")
    request = fc.UpdateAliasRequest(body=fc.UpdateAliasInput(version_id="7"))
    assert refused(client.update_alias, name, "live", request)[:2] == (404, "VersionNotFound")
    assert client.get_alias(name, "live").body.version_id == "1"


def weigh(client: Client, name: str, weights: dict[str, float]) -> Any:
    body = fc.UpdateAliasInput(additional_version_weight=weights)
    return client.update_alias(name, "live", fc.UpdateAliasRequest(body=body)).body


def test_alias_gives_a_second_version_a_weight_and_takes_it_back(client: Client, name: str) -> None:
    for _ in range(3):
        publish(client, name)
    body = fc.CreateAliasInput(alias_name="live", version_id="1", additional_version_weight={"2": 0.05})
    made = client.create_alias(name, fc.CreateAliasRequest(body=body)).body
    assert (made.version_id, made.additional_version_weight) == ("1", {"2": 0.05})
    assert weigh(client, name, {"3": 0.5}).additional_version_weight == {"3": 0.5}
    read = client.get_alias(name, "live").body
    assert (read.version_id, read.additional_version_weight) == ("1", {"3": 0.5})
    moved = fc.UpdateAliasRequest(body=fc.UpdateAliasInput(description="d"))
    assert client.update_alias(name, "live", moved).body.additional_version_weight == {"3": 0.5}
    in_use = refused(client.delete_function_version, name, "3")
    assert in_use[:2] == (409, "VersionInUse")
    assert "alias live" in in_use[2]
    assert not weigh(client, name, {}).additional_version_weight
    client.delete_function_version(name, "3")
    listed = client.list_aliases(name, fc.ListAliasesRequest()).body.aliases
    assert [(a.alias_name, a.additional_version_weight or {}) for a in listed] == [("live", {})]


def test_weights_that_cannot_be_are_refused(client: Client, name: str) -> None:
    for _ in range(3):
        publish(client, name)
    alias(client, name, "live", "1")
    for weights, words in (
        ({"1": 0.5}, "additionalVersionWeight.1"),
        ({"2": 1.5}, "between 0 and 1"),
        ({"2": 0.1, "3": 0.1}, "at most one other version"),
    ):
        status, code, message = refused(weigh, client, name, weights)
        assert (status, code) == (400, "InvalidArgument")
        assert words in message
    assert refused(weigh, client, name, {"7": 0.5})[:2] == (404, "VersionNotFound")
    assert not client.get_alias(name, "live").body.additional_version_weight


def test_reserved_concurrency_bounds_what_two_versions_need(client: Client, name: str) -> None:
    for _ in range(2):
        publish(client, name)
    alias(client, name, "live", "1")
    provision(client, name, "live", default_target=1)
    limit = fc.PutConcurrencyConfigRequest(body=fc.PutConcurrencyInput(reserved_concurrency=1))
    client.put_concurrency_config(name, limit)
    status, code, message = refused(weigh, client, name, {"2": 0.05})
    assert (status, code) == (400, "InvalidArgument")
    assert "2 instances in all exceed the reservedConcurrency 1" in message
    assert weigh(client, name, {"2": 1.0}).additional_version_weight == {"2": 1.0}, "that is one version"


def test_versions_are_listed_newest_first(client: Client, name: str) -> None:
    for _ in range(12):
        publish(client, name)
    found = client.list_function_versions(name, fc.ListFunctionVersionsRequest(limit=5)).body
    assert [v.version_id for v in found.versions] == ["12", "11", "10", "9", "8"]
    rest = fc.ListFunctionVersionsRequest(limit=100, next_token=found.next_token)
    assert client.list_function_versions(name, rest).body.versions[0].version_id == "7"
    forward = fc.ListFunctionVersionsRequest(direction="FORWARD", limit=2)
    assert [v.version_id for v in client.list_function_versions(name, forward).body.versions] == ["1", "2"]


def test_pool_hangs_on_latest_or_an_alias_only(client: Client, name: str) -> None:
    publish(client, name)
    status, code, message = refused(lambda: provision(client, name, "1", default_target=1))
    assert (status, code) == (400, "InvalidArgument")
    assert "qualifier" in message
    assert refused(lambda: provision(client, name, "live", default_target=1))[:2] == (404, "AliasNotFound")
    assert provision(client, name, "LATEST", default_target=2).target is not None
    listed = client.list_provision_configs(fc.ListProvisionConfigsRequest(function_name=name)).body
    assert [p.default_target for p in listed.provision_configs] == [2]
    missing = fc.GetProvisionConfigRequest(qualifier="live")
    assert refused(client.get_provision_config, name, missing)[0] == 404


def test_schedule_that_does_not_parse_is_refused(client: Client, name: str) -> None:
    action = fc.ScheduledAction(name="a", schedule_expression="cron(0 61 9 * * *)", target=2)
    status, code, message = refused(
        lambda: provision(client, name, "LATEST", default_target=1, scheduled_actions=[action])
    )
    assert (status, code) == (400, "InvalidArgument")
    assert "scheduledActions[0]" in message


def test_reserved_concurrency_bounds_the_pools(client: Client, name: str) -> None:
    limit = fc.PutConcurrencyConfigRequest(body=fc.PutConcurrencyInput(reserved_concurrency=2))
    assert client.put_concurrency_config(name, limit).body.reserved_concurrency == 2
    assert refused(lambda: provision(client, name, "LATEST", default_target=3))[:2] == (
        400,
        "InvalidArgument",
    )
    provision(client, name, "LATEST", default_target=2)
    lower = fc.PutConcurrencyConfigRequest(body=fc.PutConcurrencyInput(reserved_concurrency=1))
    assert refused(client.put_concurrency_config, name, lower)[:2] == (400, "InvalidArgument")
    assert client.get_concurrency_config(name).body.reserved_concurrency == 2
    listed = client.list_concurrency_configs(fc.ListConcurrencyConfigsRequest(function_name=name)).body
    assert [c.reserved_concurrency for c in listed.configs] == [2]
    client.delete_concurrency_config(name)
    assert refused(client.get_concurrency_config, name)[:2] == (404, "ConcurrencyConfigNotFound")


def test_trigger_life(client: Client, name: str) -> None:
    made = trigger(client, name, "web", "LATEST")
    assert made.http_trigger.url_internet.endswith(f"/fn/{name}")
    closed = json.dumps({"authType": "bearer", "authConfig": json.dumps({"tokens": [{"token": "abc"}]})})
    update = fc.UpdateTriggerRequest(body=fc.UpdateTriggerInput(trigger_config=closed))
    assert client.update_trigger(name, "web", update).body.trigger_config == closed
    assert client.get_trigger(name, "web").body.trigger_config == closed
    assert [t.trigger_name for t in client.list_triggers(name, fc.ListTriggersRequest()).body.triggers] == [
        "web"
    ]
    jwt = fc.UpdateTriggerRequest(
        body=fc.UpdateTriggerInput(trigger_config='{"authType":"jwt","authConfig":"{}"}')
    )
    assert refused(client.update_trigger, name, "web", jwt)[:2] == (400, "InvalidArgument")
    client.delete_trigger(name, "web")
    assert refused(client.get_trigger, name, "web")[:2] == (404, "TriggerNotFound")


def test_custom_domain_life(client: Client, name: str) -> None:
    def request(domain: str, function: str) -> fc.CreateCustomDomainRequest:
        routes = fc.RouteConfig(routes=[fc.PathConfig(path="/*", function_name=function)])
        body = fc.CreateCustomDomainInput(domain_name=domain, protocol="HTTP", route_config=routes)
        return fc.CreateCustomDomainRequest(body=body)

    made = client.create_custom_domain(request("chat.example.test", name)).body
    assert made.route_config.routes[0].function_name == name
    taken = refused(client.create_custom_domain, request("chat.example.test", name))
    assert taken[:2] == (409, "DomainNameAlreadyExists")
    absent = refused(client.create_custom_domain, request("two.example.test", "nobody"))
    assert absent[:2] == (404, "FunctionNotFound")
    routes = fc.RouteConfig(routes=[fc.PathConfig(path="/v1/*", function_name=name)])
    update = fc.UpdateCustomDomainRequest(body=fc.UpdateCustomDomainInput(route_config=routes))
    changed = client.update_custom_domain("chat.example.test", update).body
    assert changed.route_config.routes[0].path == "/v1/*"
    listed = client.list_custom_domains(fc.ListCustomDomainsRequest()).body.custom_domains
    assert [d.domain_name for d in listed] == ["chat.example.test"]
    client.delete_custom_domain("chat.example.test")
    assert refused(client.get_custom_domain, "chat.example.test")[0] == 404


def test_what_the_host_does_not_offer_says_so(client: Client, name: str) -> None:
    calls = [
        lambda: client.get_scaling_config(name, fc.GetScalingConfigRequest()),
        lambda: client.list_async_tasks(name, fc.ListAsyncTasksRequest()),
        lambda: client.disable_function_invocation(name, fc.DisableFunctionInvocationRequest()),
    ]
    for call in calls:
        status, code, message = refused(call)
        assert (status, code) == (400, "NotSupported")
        assert "not supported by this host" in message


def test_instances_are_listed(client: Client, name: str) -> None:
    assert client.list_instances(name, fc.ListInstancesRequest()).body.instances == []
    assert refused(client.list_instances, "nobody", fc.ListInstancesRequest())[0] == 404


def test_declared_objects_survive_a_restart(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        client = first.client()
        client.create_function(spec("kept"))
        publish(client, "kept")
        alias(client, "kept", "live", "1")
        before = client.get_function("kept", fc.GetFunctionRequest()).body.to_map()
    with served(tmp_path) as second:
        client = second.client()
        assert client.get_function("kept", fc.GetFunctionRequest()).body.to_map() == before
        assert client.get_alias("kept", "live").body.version_id == "1"
        assert publish(client, "kept") == "2"
