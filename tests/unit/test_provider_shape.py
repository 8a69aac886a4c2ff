"""The pure half of the provider: wire form, diff, drift, config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tickover.engine.provider import DiffKind
from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import Exit, TickoverError
from tickover.fc.client import Connection
from tickover.fc.function import Function
from tickover.provider import shape
from tickover.provider.config import check_config, resolve
from tickover.provider.timetable import problems


def test_nested_snake_case_becomes_wire_names_and_user_keys_stay() -> None:
    given = {
        "memory_size": 2048,
        "custom_container_config": {"image": UNKNOWN, "health_check_config": {"http_get_url": "/health"}},
        "nasConfig": {"mount_points": [{"server_addr": "local:/m", "mountDir": "/mnt"}]},
        "environment_variables": {"memory_size": Secret("x")},
        "description": None,
    }
    assert shape.to_wire_names(Function, given) == {
        "memorySize": 2048,
        "customContainerConfig": {"image": UNKNOWN, "healthCheckConfig": {"httpGetUrl": "/health"}},
        "nasConfig": {"mountPoints": [{"serverAddr": "local:/m", "mountDir": "/mnt"}]},
        "environmentVariables": {"memory_size": Secret("x")},
    }


def test_known_part_names_what_is_unknown() -> None:
    known, unknown = shape.known_part({"a": Secret("s"), "b": {"c": UNKNOWN}, "d": [1, UNKNOWN]})
    assert known == {"a": "s", "b": {"c": ""}, "d": [1, ""]}
    assert unknown == ("b.c", "d[1]")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"cpu": 1}, {"cpu": 1.0}, {}),
        ({"on": True}, {"on": 1}, {"on": "update"}),
        ({"cpu": 1}, {"cpu": 2}, {"cpu": "update"}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a.c": "delete"}),
        ({"a": ["x"]}, {"a": ["x", "y"]}, {"a[1]": "add"}),
        ({"a": Secret("x")}, {"a": "x"}, {}),
        ({"a": Secret("x")}, {"a": Secret("y")}, {"a": "update"}),
        ({"a": "x"}, {"a": UNKNOWN}, {"a": "update"}),
        ({"j": '{"a": 1, "b": 2}'}, {"j": '{"b":2,"a":1}'}, {}),
        ({"j": '{"a": 1}'}, {"j": '{"a": 2}'}, {"j": "update"}),
        ({}, {"name": "x"}, {"name": "add-replace"}),
        ({"name": "x"}, {"name": UNKNOWN}, {"name": "update-replace"}),
        ({"a": None}, {}, {}),
    ],
)
def test_detailed_diff(old: dict[str, Any], new: dict[str, Any], expected: dict[str, str]) -> None:
    found = shape.detailed_diff(old, new, frozenset({"name"}))
    assert {path: change.kind.value for path, change in found.items()} == expected


def test_everything_replaces_what_cannot_be_changed() -> None:
    assert shape.detailed_diff({"a": 1}, {"a": 2}, None)["a"].kind is DiffKind.UPDATE_REPLACE


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param({"cpu": 1}, {"cpu": 1, "timeout": 3}, {"cpu": 1}, id="defaults of FC are not ours"),
        pytest.param({"cpu": 1}, {"cpu": 2}, {"cpu": 2}, id="drift"),
        pytest.param({"cpu": 1}, {}, {}, id="taken away"),
        pytest.param({"d": "", "l": []}, {}, {"d": "", "l": []}, id="FC omits what is empty"),
        pytest.param({"k": Secret("x")}, {}, {"k": Secret("x")}, id="FC does not tell secrets"),
        pytest.param({"k": Secret("x")}, {"k": "y"}, {"k": Secret("y")}, id="a changed secret stays one"),
        pytest.param({"j": '{"a": 1}'}, {"j": '{"a":1,"b":0}'}, {"j": '{"a": 1}'}, id="JSON with defaults"),
        pytest.param({"j": '{"a": 1}'}, {"j": '{"a":2}'}, {"j": '{"a":2}'}, id="JSON that differs"),
        pytest.param(
            {"c": {"port": 1, "command": ["a"]}},
            {"c": {"port": 2, "command": ["a", "b"], "x": 1}},
            {"c": {"port": 2, "command": ["a", "b"]}},
            id="nested",
        ),
    ],
)
def test_managed(ours: dict[str, Any], theirs: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shape.managed(ours, theirs) == expected


def test_check_config_takes_only_what_is_the_providers() -> None:
    inputs, failures = check_config({"services": "{}", "accountId": 12, "accessKeySecret": "hush"})
    assert failures == ()
    assert inputs == {"accountId": "12", "accessKeySecret": Secret("hush")}


@pytest.mark.parametrize(
    ("inputs", "path"),
    [({"target": "moon"}, "target"), ({"target": "cloud"}, "region"), ({"endpoint": {}}, "endpoint")],
)
def test_check_config_names_the_key(inputs: dict[str, Any], path: str) -> None:
    _, failures = check_config(inputs)
    assert [f.property for f in failures] == [path]


def test_host_files_say_where_and_as_whom(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "host.json").write_text(json.dumps({"url": "http://127.0.0.1:9797"}))
    keys = {"access_key_id": "id", "access_key_secret": "hush", "region": "local"}
    (tmp_path / "host" / "credentials.json").write_text(json.dumps(keys))
    found = resolve({}, tmp_path, {})
    assert found == Connection("http://127.0.0.1:9797", "id", "hush", "local")
    assert "hush" not in repr(found)
    assert (found.scheme, found.address, found.is_loopback) == ("http", "127.0.0.1:9797", True)


def test_no_host_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(TickoverError) as caught:
        resolve({}, tmp_path, {})
    assert caught.value.hint == "tickover host start"


@pytest.mark.parametrize(
    ("inputs", "endpoint"),
    [
        ({"region": "cn-hangzhou"}, "fcv3.cn-hangzhou.aliyuncs.com"),
        ({"region": "cn-hangzhou", "accountId": "12"}, "12.cn-hangzhou.fc.aliyuncs.com"),
        ({"region": "cn-hangzhou", "endpoint": "https://fc.test"}, "https://fc.test"),
    ],
)
def test_cloud_endpoint(inputs: dict[str, Any], endpoint: str) -> None:
    environ = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush"}
    found = resolve({"target": "cloud", **inputs}, None, environ)
    assert (found.endpoint, found.scheme, found.is_loopback) == (endpoint, "https", False)


def test_cloud_without_credentials_is_an_authentication_error() -> None:
    with pytest.raises(TickoverError) as caught:
        resolve({"target": "cloud", "region": "cn-hangzhou"}, None, {})
    assert caught.value.exit_code is Exit.AUTHENTICATION


def test_every_bad_part_of_a_timetable_is_named() -> None:
    actions = [
        {"scheduleExpression": "cron(0 0 9 * * MON-FRI)", "timeZone": "Asia/Shanghai"},
        {"scheduleExpression": "cron(0 0 25 * * *)", "timeZone": "Mars/Olympus"},
        {
            "scheduleExpression": "at(2026-01-01T00:00:00)",
            "startTime": "2026-02-01T00:00:00Z",
            "endTime": "x",
        },
    ]
    assert [p.property for p in problems(actions)] == [
        "scheduledActions[1].scheduleExpression",
        "scheduledActions[1].timeZone",
        "scheduledActions[2].endTime",
    ]
