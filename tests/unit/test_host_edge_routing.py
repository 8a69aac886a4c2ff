"""Where requests go, who may send them, and what of them is passed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.host_edge_fakes import CREDENTIALS, registry_with
from tickover.errors import ConfigError
from tickover.host.auth import AuthKind, AuthRule, AuthRuleError, auth_rule, check_bearer, trigger_rule
from tickover.host.http import Head, HttpError, origin_form, relayed_head, upstream_head
from tickover.host.main import parse_listen, parse_nas
from tickover.host.nas import NamedVolume, NfsExport, nas_folder, nas_source
from tickover.host.ports import check_listen, is_loopback
from tickover.host.routes import RouteTable, ToAdmin, ToApi, ToFunction
from tickover.host.store import Kind, Row


def head(target: str, host: str = "127.0.0.1:9797", method: str = "GET", *more: tuple[bytes, bytes]) -> Head:
    return Head(method, target, ((b"host", host.encode()), *more))


def table(tmp_path: Path, *domains: tuple[str, list[dict[str, object]]]) -> RouteTable:
    registry = registry_with(tmp_path, trigger={"authType": "anonymous", "methods": ["GET", "POST"]})
    for name, routes in domains:
        body = {"protocol": "HTTP", "routeConfig": {"routes": routes}}
        registry.put(Row(Kind.DOMAIN, "", name, body, {}, 1, 1))
    return RouteTable(registry)


def to_chat(path: str, **more: object) -> dict[str, object]:
    return {"path": path, "functionName": "chat-dev", **more}


@pytest.mark.parametrize(
    ("target", "kind"),
    [("/2023-03-30/functions", ToApi), ("/_tickover/v1/status", ToAdmin), ("/fn/chat-dev/", ToFunction)],
)
def test_paths_of_the_host(tmp_path: Path, target: str, kind: type) -> None:
    assert isinstance(table(tmp_path).decide(head(target)), kind)


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("/fn/chat-dev", "/"),
        ("/fn/chat-dev/", "/"),
        ("/fn/chat-dev?a=1", "/?a=1"),
        ("/fn/chat-dev.LATEST/v1/x?a=/y", "/v1/x?a=/y"),
        ("/fn/chat-dev//a%2Fb", "//a%2Fb"),
    ],
)
def test_own_url_is_passed_on_without_its_prefix(tmp_path: Path, target: str, forwarded: str) -> None:
    decision = table(tmp_path).decide(head(target))
    assert isinstance(decision, ToFunction)
    assert decision.target == forwarded


@pytest.mark.parametrize(
    ("host", "path", "outcome"),
    [
        ("chat.example.test", "/v1/models", "exact"),
        ("chat.example.test", "/v1/models/x", "long"),
        ("CHAT.example.test:80", "/v1/y", "short"),
        ("chat.example.test", "/fn/chat-dev/", "DomainRouteNotFound"),
        ("chat.example.test", "/2023-03-30/functions", "DomainRouteNotFound"),
        ("other.example.test", "/any", "wild"),
        ("deep.other.example.test", "/any", "DomainRouteNotFound"),
        ("else.test", "/any", "DomainRouteNotFound"),
    ],
)
def test_domain_routes_exact_before_longest_prefix(
    tmp_path: Path, host: str, path: str, outcome: str
) -> None:
    registry = registry_with(tmp_path)
    meta = {"functionId": "x", "nextVersion": 1}
    spec = registry.function("chat-dev").body
    for name in ("exact", "long", "short", "wild"):
        registry.put(Row(Kind.FUNCTION, "", name, {**spec, "functionName": name}, meta, 1, 1))
        trigger = registry.select(Kind.TRIGGER, "chat-dev")[0]
        registry.put(Row(Kind.TRIGGER, name, "http", trigger.body, trigger.meta, 1, 1))
    routes = [
        {"path": "/v1/*", "functionName": "short"},
        {"path": "/v1/models*", "functionName": "long"},
        {"path": "/v1/models", "functionName": "exact"},
    ]
    wild = [{"path": "/*", "functionName": "wild"}]
    for domain, found in (("chat.example.test", routes), ("*.example.test", wild)):
        registry.put(Row(Kind.DOMAIN, "", domain, {"routeConfig": {"routes": found}}, {}, 1, 1))
    decision = RouteTable(registry).decide(head(path, host))
    if isinstance(decision, HttpError):
        assert decision.code == outcome
    else:
        assert isinstance(decision, ToFunction)
        assert (decision.function_name, decision.target) == (outcome, path)


def test_a_route_rewrites_for_its_function_only(tmp_path: Path) -> None:
    rewrite = {"wildcardRules": [{"match": "^/api/*", "replacement": "/v1/$1"}]}
    long = {"regexRules": [{"match": "^(.*)$", "replacement": "$1" * 20}]}
    found = table(
        tmp_path, ("a.test", [to_chat("/api/*", rewriteConfig=rewrite), to_chat("/x*", rewriteConfig=long)])
    )
    decision = found.decide(head("/api/models?x=1", "a.test"))
    assert isinstance(decision, ToFunction)
    assert decision.target == "/v1/models?x=1"
    refused = found.decide(head("/x" + "y" * 1000, "a.test"))
    assert isinstance(refused, HttpError)
    assert refused.status == 400


def test_what_is_remembered_is_what_was_decided_and_has_a_bound(tmp_path: Path) -> None:
    routes = table(tmp_path, ("a.test", [to_chat("/*", methods=["POST"])]))
    hosts, methods = ("a.test", "b.test", "127.0.0.1"), ("GET", "POST")
    targets = ("/fn/chat-dev/", "/fn/chat-dev/?a=1", "/_tickover/v1/x", "/", "/" + "y" * 1000)
    asked = [
        Head(method, target, ((b"host", host.encode()),), is_tls=is_tls)
        for host in hosts
        for method in methods
        for target in targets
        for is_tls in (False, True)
    ]
    for _ in range(2):
        for one in asked:
            decision, cors = routes.look_up(one)
            assert (repr(decision), cors) == (repr(routes.decide(one)), routes.cors(one))
    for number in range(5000):
        routes.look_up(head(f"/fn/chat-dev/{number}"))
    assert len(routes._remembered) <= 1024


def test_methods_of_trigger_and_route(tmp_path: Path) -> None:
    routes = table(tmp_path, ("a.test", [to_chat("/*", methods=["POST"])]))
    assert isinstance(routes.decide(head("/fn/chat-dev/", method="POST")), ToFunction)
    for refused in (head("/fn/chat-dev/", method="PUT"), head("/", "a.test", "GET")):
        decision = routes.decide(refused)
        assert isinstance(decision, HttpError)
        assert decision.status == 405


def test_disabled_own_url_leaves_the_domain_open(tmp_path: Path) -> None:
    registry = registry_with(tmp_path, trigger={"authType": "anonymous", "disableURLInternet": True})
    body = {"routeConfig": {"routes": [to_chat("/*")]}}
    registry.put(Row(Kind.DOMAIN, "", "a.test", body, {}, 1, 1))
    routes = RouteTable(registry)
    closed = routes.decide(head("/fn/chat-dev/"))
    assert isinstance(closed, HttpError)
    assert closed.status == 403
    assert isinstance(routes.decide(head("/", "a.test")), ToFunction)


def test_bearer_tokens() -> None:
    tokens = json.dumps({"tokens": [{"token": "good"}, {"token": "off", "enable": False}]})
    rule, _ = trigger_rule(json.dumps({"authType": "bearer", "authConfig": tokens}))
    assert check_bearer(rule, b"Bearer good") is None
    assert check_bearer(rule, b"bearer good") is None
    for wrong in (None, b"", b"good", b"Basic good", b"Bearer ", b"Bearer off", b"Bearer goo"):
        refusal = check_bearer(rule, wrong)
        assert refusal is not None
        assert "good" not in refusal.message
    assert "good" not in repr(rule)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("jwt", "{}"),
        ("basic", None),
        ("basic", "{}"),
        ("basic", '{"users": [{"username": "a"}]}'),
        ("bearer", None),
        ("bearer", "no json"),
        ("bearer", '{"tokens": []}'),
        ("bearer", "[]"),
    ],
)
def test_auth_that_cannot_be_checked_is_refused(kind: str, config: str | None) -> None:
    with pytest.raises(AuthRuleError):
        auth_rule(kind, config)


def test_no_auth_type_means_signed_calls() -> None:
    assert trigger_rule("{}")[0] == AuthRule(AuthKind.FUNCTION)


def test_credentials_hide_their_secrets() -> None:
    assert CREDENTIALS.access_key_secret not in repr(CREDENTIALS)
    assert CREDENTIALS.admin_token not in repr(CREDENTIALS)
    assert CREDENTIALS.secret_for("LTAItest") == CREDENTIALS.access_key_secret
    assert CREDENTIALS.secret_for("other") is None


def test_upstream_head_drops_hop_by_hop_and_forged_headers() -> None:
    sent = head(
        "/x",
        "h",
        "POST",
        (b"connection", b"close, x-private"),
        (b"x-private", b"1"),
        (b"te", b"trailers"),
        (b"x-fc-instance-id", b"forged"),
        (b"content-length", b"3"),
        (b"accept", b"*/*"),
    )
    assert upstream_head(sent, "/x", b"x-fc-request-id: r\r\n") == (
        b"POST /x HTTP/1.1\r\nhost: h\r\naccept: */*\r\ncontent-length: 3\r\nx-fc-request-id: r\r\n\r\n"
    )


def test_relayed_head_cannot_forge_the_hosts_own_headers() -> None:
    headers = ((b"X-Fc-Request-Id", b"forged"), (b"X-Tickover-Woke", b"forged"), (b"A", b"1"))
    text = relayed_head(200, b"OK", headers, b"X-Fc-Request-Id: r\r\nconnection: close\r\n")
    assert text == b"HTTP/1.1 200 OK\r\nA: 1\r\nX-Fc-Request-Id: r\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("http://h/a?b", "/a?b"), ("HTTP://h", "/"), ("/a", "/a"), ("*", "*"), ("h:1", "h:1")],
)
def test_absolute_targets_are_read_as_paths(given: str, expected: str) -> None:
    assert origin_form(given) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.1", ("127.0.0.1", None)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        (":80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", None)),
    ],
)
def test_listen_addresses(value: str, expected: tuple[str, int | None]) -> None:
    assert parse_listen(value) == expected


def test_only_loopback_without_a_flag() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"))
    for host in ("0.0.0.0", "10.0.0.1", "::", "example.test"):
        with pytest.raises(ConfigError):
            check_listen(host, allow_remote=False)
        check_listen(host, allow_remote=True)


def test_nas_names(tmp_path: Path) -> None:
    assert parse_nas([f"big={tmp_path}"]) == {"big": tmp_path}
    for wrong in ("big", "=x", "big=", f"big={tmp_path}/absent"):
        with pytest.raises(ConfigError):
            parse_nas([wrong])
    assert nas_folder("big:/a/b", {"big": tmp_path}) == tmp_path / "a" / "b"
    assert nas_folder("big:/", {"big": tmp_path}) == tmp_path
    for outside in ("big:/../x", "big:/a/../../x", "10.0.0.7:/../x", "other:/a", "big", "10.0.0.7"):
        assert isinstance(nas_folder(outside, {"big": tmp_path}), str)
        assert isinstance(nas_source(outside, {"big": tmp_path}), str)


def test_what_a_nas_address_means(tmp_path: Path) -> None:
    roots = {"big": tmp_path, "mine.example": tmp_path}
    target = "abc-x.cn-hangzhou.nas.aliyuncs.com"
    assert nas_source("mine.example:/a", roots) == tmp_path / "a"  # a folder of this machine comes first
    assert nas_source(f"{target}:/models/", roots) == NfsExport(target, "/models")
    assert nas_source("10.0.0.7:/", roots) == NfsExport("10.0.0.7", "/")
    assert nas_source("volume:/weights", roots) == NamedVolume("weights")
    assert nas_source("volume:/weights/part", roots) == "a named volume is volume:/NAME"
    said = nas_folder(f"{target}:/models", roots)
    assert isinstance(said, str) and f"--nas {target}=DIR" in said and "mount -t nfs" in said
    said = nas_folder("volume:/weights", roots)
    assert isinstance(said, str) and "only containers" in said
