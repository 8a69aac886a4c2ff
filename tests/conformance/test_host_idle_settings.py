"""Idle settings of a function, put by the official client, on a host with real processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alibabacloud_fc20230330 import models as fc
from Tea.exceptions import TeaException

from tests.support.cli_project import CommandLine
from tests.support.host_core import FAST, TINY
from tests.support.host_edge_server import Served, served
from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import start_host, stop_host
from tickover.host.pool import ReservedPool
from tickover.host.server import PoolNeeds

NAME = "tiny-dev"
AHEAD, AFTER = 1.5, 4  # woken so long before an action that is nearly so far away


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Served]:
    def pool(needs: PoolNeeds) -> ReservedPool:
        return ReservedPool(needs.registry, needs.db_path, needs.data_dir, needs.nas, settings=FAST)

    with served(tmp_path / "demo" / ".tickover", pool) as found:
        yield found


def declare(host: Served, variables: dict[str, str]) -> None:
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, TINY], command=["--port", "${port}"]
    )
    spec = fc.CreateFunctionInput(
        function_name=NAME,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        instance_concurrency=2,
        environment_variables=variables,
        custom_container_config=container,
    )
    host.client().create_function(fc.CreateFunctionRequest(body=spec))


def reserve(host: Served, target: int, *actions: fc.ScheduledAction) -> None:
    body = fc.PutProvisionConfigInput(
        default_target=target,
        always_allocate_cpu=False,
        always_allocate_gpu=False,
        scheduled_actions=list(actions),
    )
    host.client().put_provision_config(NAME, fc.PutProvisionConfigRequest(qualifier="LATEST", body=body))


def states(host: Served) -> list[str]:
    if host.pool is None:
        return [found["state"] for found in AdminClient(host.home).instances(NAME)]
    return [view.state.value for view in host.pool.instances(NAME)]


def until(host: Served, wanted: list[str], seconds: float = 20.0) -> float:
    """When the pool was first seen so, on the wall clock."""
    deadline = time.monotonic() + seconds
    while states(host) != wanted:
        assert time.monotonic() < deadline, f"{wanted} did not come: {states(host)}"
        time.sleep(0.01)
    return time.time()


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("TICKOVER_LINGER_SECONDS", "soon", "a number of seconds from 0 to 86400, but is 'soon'"),
        ("TICKOVER_IDLE_DEEPEST", "deep", "none, freeze, sleep or checkpoint, but is 'deep'"),
        ("TICKOVER_MAX_AGE_SECONDS", "5", "a number of seconds from 60 to 31622400, but is '5'"),
    ],
)
def test_what_cannot_be_read_is_refused_when_it_is_put(
    host: Served, variable: str, value: str, wanted: str
) -> None:
    said = f"environmentVariables.{variable}: {variable} must be {wanted}"
    with pytest.raises(TeaException) as created:
        declare(host, {variable: value})
    assert (created.value.code, created.value.statusCode) == ("InvalidArgument", 400)
    assert said in created.value.message
    declare(host, {})
    change = fc.UpdateFunctionInput(environment_variables={variable: value})
    with pytest.raises(TeaException) as updated:
        host.client().update_function(NAME, fc.UpdateFunctionRequest(body=change))
    assert updated.value.code == "InvalidArgument" and said in updated.value.message


def test_an_idle_instance_is_awake_before_its_schedule_asks_and_idle_again_after_it(host: Served) -> None:
    declare(host, {"TICKOVER_WAKE_AHEAD_SECONDS": str(AHEAD), "TICKOVER_LINGER_SECONDS": "0.3"})
    reserve(host, 1)
    until(host, ["idle"])
    asked = int(time.time()) + AFTER  # a schedule knows whole seconds
    moment = datetime.fromtimestamp(asked, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    at = fc.ScheduledAction(name="soon", schedule_expression=f"at({moment})", target=2, time_zone="UTC")
    reserve(host, 1, at)
    awake = until(host, ["ready"])
    assert asked - AHEAD <= awake < asked
    until(host, ["idle", "idle"])
    assert time.time() >= asked + 0.3


def test_settings_change_without_a_new_instance(host: Served) -> None:
    declare(host, {"TICKOVER_LINGER_SECONDS": "3600"})
    reserve(host, 1)
    until(host, ["ready"])
    (before,) = host.pool.instances(NAME)
    change = fc.UpdateFunctionInput(environment_variables={"TICKOVER_LINGER_SECONDS": "0"})
    host.client().update_function(NAME, fc.UpdateFunctionRequest(body=change))
    until(host, ["idle"])
    assert [view.instance_id for view in host.pool.instances(NAME)] == [before.instance_id]


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Served]:
    home = tmp_path / "demo" / ".tickover"
    info = start_host(home, 0)
    yield Served(home, info.url, load_credentials(home / "host" / "credentials.json"), None)
    stop_host(home)


def test_wake_says_how_many_woke_and_in_what_time(
    background: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = background
    declare(host, {"TICKOVER_LINGER_SECONDS": "0.3"})
    reserve(host, 2)
    until(host, ["idle", "idle"])
    tickover = CommandLine(tmp_path / "demo", monkeypatch, capsys)
    one = tickover("wake", f"{NAME}.LATEST", "--count", "1")
    assert one.out.startswith(f"{NAME}.LATEST: 1 woke in ") and one.out.endswith(" ms, 1 awake\n")
    until(host, ["idle", "idle"])
    all_of_them = tickover("wake", NAME, "--json")
    pool = {"qualifier": "LATEST", "woke": 2, "failed": 0, "awake": 2}
    assert all_of_them.code == 0
    assert {**all_of_them.json, "took_seconds": 0} == {"function": NAME, "pools": [pool], "took_seconds": 0}
    assert 0 < float(all_of_them.json["took_seconds"]) < 5
    until(host, ["idle", "idle"])
    for words, code, said in (
        ((f"{NAME}.nobody",), 4, "AliasNotFound"),
        (("tiny-dve.live",), 2, f"Did you mean `{NAME}.live`?"),
        (("tiny-dve", "-s", "dev"), 1, "No service is up"),
    ):
        ended = tickover("wake", *words)
        assert ended.code == code and said in ended.err, json.dumps([words, ended.code, ended.err])
