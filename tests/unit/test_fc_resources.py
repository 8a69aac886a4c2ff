"""What pools, aliases, triggers and domains can and cannot be."""

from __future__ import annotations

import json

import pytest

from tests.support.fc_examples import ACTION, ALIAS, DOMAIN, POOL, TRIGGER, said
from tickover.fc import alias, domain, provision, trigger
from tickover.fc.validate import parse, violations


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"qualifier": "3"}, "qualifier", "not a version number"),
        ({"defaultTarget": 10001}, "defaultTarget", "between 0 and 10000"),
        ({"target": 2}, "target", "must equal it (1), but is 2"),
        ({"alwaysAllocateGpu": False}, "alwaysAllocateGpu", "did you mean alwaysAllocateGPU?"),
        ({"scheduledActions": [{**ACTION, "target": -1}]}, "scheduledActions[0].target", "between 0 and"),
        (
            {"scheduledActions": [{**ACTION, "scheduleExpression": "9 am"}]},
            "scheduledActions[0].scheduleExpression",
            "at(yyyy",
        ),
        (
            {"scheduledActions": [{**ACTION, "startTime": "today"}]},
            "scheduledActions[0].startTime",
            "yyyy-mm-dd",
        ),
        (
            {
                "scheduledActions": [
                    {**ACTION, "startTime": "2026-06-09T10:00:00Z", "endTime": "2026-06-09T09:00:00Z"}
                ]
            },
            "scheduledActions[0].endTime",
            "must be after startTime",
        ),
        (
            {"scheduledActions": [ACTION, ACTION]},
            "scheduledActions[1].name",
            "must not repeat the name 'day'",
        ),
        (
            {
                "targetTrackingPolicies": [
                    {
                        "name": "a",
                        "metricType": "CPU",
                        "metricTarget": 0.6,
                        "minCapacity": 1,
                        "maxCapacity": 2,
                    }
                ]
            },
            "targetTrackingPolicies[0].metricType",
            "CPUUtilization",
        ),
        (
            {
                "targetTrackingPolicies": [
                    {
                        "name": "a",
                        "metricType": "CPUUtilization",
                        "metricTarget": 60,
                        "minCapacity": 1,
                        "maxCapacity": 2,
                    }
                ]
            },
            "targetTrackingPolicies[0].metricTarget",
            "between 0.01 and 1",
        ),
        (
            {
                "targetTrackingPolicies": [
                    {
                        "name": "a",
                        "metricType": "CPUUtilization",
                        "metricTarget": 0.6,
                        "minCapacity": 3,
                        "maxCapacity": 2,
                    }
                ]
            },
            "targetTrackingPolicies[0].maxCapacity",
            "at least minCapacity 3",
        ),
    ],
)
def test_what_a_pool_cannot_be(change, path, words):
    found = said(provision.ProvisionConfig, {**POOL, **change})
    assert list(found) == [path]
    assert words in found[path]


def test_both_spellings_of_the_target():
    old = parse(provision.ProvisionConfig, {**POOL, "defaultTarget": None, "target": 4})
    assert (old.reserved, parse(provision.ProvisionConfig, POOL).reserved) == (4, 1)


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"aliasName": "LATEST"}, "aliasName", "not be LATEST"),
        ({"aliasName": "3"}, "aliasName", "not start with a digit"),
        ({"versionId": 3}, "versionId", "must be a text, but is a number"),
        ({"versionId": "0"}, "versionId", "the number of a published version"),
        (
            {"additionalVersionWeight": {"3": 0.5}},
            "additionalVersionWeight.3",
            "another version than versionId",
        ),
        ({"additionalVersionWeight": {"4": 5}}, "additionalVersionWeight.4", "between 0 and 1, but is 5"),
        ({"additionalVersionWeight": {"4": 0.1, "5": 0.1}}, "additionalVersionWeight", "at most one other"),
    ],
)
def test_what_an_alias_cannot_be(change, path, words):
    found = said(alias.Alias, {**ALIAS, **change})
    assert list(found) == [path]
    assert words in found[path]


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"authType": "bearer"}, "triggerConfig.authConfig", "is required by authType bearer"),
        ({"authType": "bearer", "authConfig": "{}"}, "triggerConfig.authConfig.tokens", "is required"),
        (
            {"authType": "bearer", "authConfig": '{"tokens": []}'},
            "triggerConfig.authConfig",
            "at least one entry",
        ),
        (
            {"authType": "bearer", "authConfig": '{"tokens": [{"token": ""}]}'},
            "triggerConfig.authConfig.tokens[0].token",
            "not be empty",
        ),
        (
            {"authType": "anonymous", "authConfig": '{"tokens": []}'},
            "triggerConfig.authConfig",
            "not used with authType anonymous",
        ),
        ({"authType": "open"}, "triggerConfig.authType", "function, anonymous, jwt, basic or bearer"),
        ({"methods": ["get"]}, "triggerConfig.methods[0]", "did you mean GET?"),
        (
            {"disableUrlInternet": True},
            "triggerConfig.disableUrlInternet",
            "did you mean disableURLInternet?",
        ),
        ({"corsConfig": {"maxAge": -1}}, "triggerConfig.corsConfig.maxAge", "between 0 and 86400"),
    ],
)
def test_what_an_http_trigger_cannot_be(config, path, words):
    found = said(trigger.Trigger, {**TRIGGER, "triggerConfig": json.dumps(config)})
    assert list(found) == [path]
    assert words in found[path]


def test_a_timer_trigger_has_its_own_config():
    wire = {**TRIGGER, "triggerType": "timer", "triggerConfig": json.dumps({"cronExpression": "@every 4m"})}
    assert violations(trigger.Trigger, wire) == ()
    wire["triggerConfig"] = "{}"
    assert list(said(trigger.Trigger, wire)) == ["triggerConfig.cronExpression"]


def test_the_tokens_of_a_bearer_trigger():
    tokens = [{"token": "a"}, {"token": "b", "enable": False}, {"token": "c", "name": "third"}]
    config = {"authType": "bearer", "authConfig": json.dumps({"tokens": tokens})}
    made = parse(trigger.Trigger, {**TRIGGER, "triggerConfig": json.dumps(config)})
    assert made.http_config().bearer_tokens() == {"a", "c"}
    anonymous = {**TRIGGER, "triggerConfig": '{"authType": "anonymous"}'}
    assert parse(trigger.Trigger, anonymous).http_config().bearer_tokens() == frozenset()


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"domainName": "localhost"}, "domainName", "such as chat.example.com"),
        ({"domainName": "a..b"}, "domainName", "such as chat.example.com"),
        ({"protocol": "HTTPS"}, "certConfig", "is required by protocol HTTPS"),
        ({"protocol": "HTTPS,HTTP"}, "protocol", "did you mean HTTP,HTTPS?"),
        ({"tlsConfig": {"minVersion": "TLSv1.2"}}, "tlsConfig", "only used with protocol HTTPS"),
        ({"routeConfig": {"routes": []}}, "routeConfig.routes", "at least one route"),
        (
            {"routeConfig": {"routes": [{"path": "/a*b", "functionName": "f"}]}},
            "routeConfig.routes[0].path",
            "at the end",
        ),
        (
            {"routeConfig": {"routes": [{"path": "/a", "functionName": "f"}] * 2}},
            "routeConfig.routes[1].path",
            "must differ from routes[0].path",
        ),
        ({"authConfig": {"authType": "bearer"}}, "authConfig.authInfo", "is required by authType bearer"),
    ],
)
def test_what_a_domain_cannot_be(change, path, words):
    found = said(domain.CustomDomain, {**DOMAIN, **change})
    assert list(found) == [path]
    assert words in found[path]


def test_tls_versions_are_in_order():
    pem = {
        "certName": "c",
        "certificate": "-----BEGIN CERTIFICATE-----\n",
        "privateKey": "-----BEGIN EC PRIVATE KEY-----\n",
    }
    tls = {"minVersion": "TLSv1.3", "maxVersion": "TLSv1.2"}
    wire = {**DOMAIN, "protocol": "HTTP,HTTPS", "certConfig": pem, "tlsConfig": tls}
    assert list(said(domain.CustomDomain, wire)) == ["tlsConfig.maxVersion"]


@pytest.mark.parametrize(
    ("path", "taken"),
    [("/v1/models", "exact"), ("/v1/chat", "v1"), ("/v1/", "v1"), ("/v2", "all"), ("/", "all")],
)
def test_the_exact_route_wins_then_the_longest_prefix(path, taken):
    routes = [
        {"path": "/*", "functionName": "all"},
        {"path": "/v1/*", "functionName": "v1"},
        {"path": "/v1/models", "functionName": "exact"},
    ]
    route = domain.route_for(parse(domain.RouteConfig, {"routes": routes}), path)
    assert route is not None
    assert route.function_name == taken


def test_no_route_for_a_path_outside_all():
    config = parse(domain.RouteConfig, {"routes": [{"path": "/v1/*", "functionName": "f"}]})
    assert domain.route_for(config, "/v2") is None
