"""Lifecycle hooks and start deadlines on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from alibabacloud_fc20230330 import models as fc

from tests.conformance.test_host_api_whole_host import until as waited
from tests.faults.test_host_pool_kill import Host, in_state
from tests.support.host_core import (
    FAST,
    TINY,
    Declared,
    function,
    get,
    marked_processes,
    no_mounts_left,
    pool_of,
    run,
    running,
    states,
    until,
)
from tests.support.host_edge_server import Served
from tickover.host import daemon
from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import start_host, stop_host
from tickover.host.hooks import Account
from tickover.host.pool import ReservedPool

CALLED = {"handler": "called over http", "timeout": 5}
QUIET = {"TICKOVER_IDLE_DEEPEST": "none"}


def log_of(folder, view):
    return (folder / "logs" / f"{view.instance_id}.log").read_text()


def hooks_called(folder, view):
    """Names of the hooks in the order of their calls, and the headers of the last one."""
    lines = [line.partition(" ") for line in log_of(folder, view).splitlines()]
    calls = [(name, json.loads(told)) for name, _, told in lines if name in ("initialize", "pre-stop")]
    return [name for name, _ in calls], calls[-1][1] if calls else {}


def ended(pool, declared):
    """Retire everything and wait until it is gone."""
    declared.pools = ()
    pool.notify()
    return until(lambda: states(pool) == [], "the end")


def test_the_initializer_is_called_once_before_the_health_check_and_the_first_request(tmp_path):
    """The server answers 503 on its health path until /initialize was called: it loads there."""

    async def scenario():
        spec = function("--unhealthy", "--initialize", "200", health="/health", env=QUIET, initializer=CALLED)
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            (view,) = pool.instances()
            names, told = hooks_called(tmp_path, view)
            assert names == ["initialize"]
            assert told["x-fc-control-path"] == "/initialize"
            assert told["x-fc-function-name"] == "chat-dev" and told["x-fc-qualifier"] == "live"
            assert told["x-fc-version-id"] == "1" and told["x-fc-region"] == "local"
            assert len(told["x-fc-request-id"]) == 36

    run(scenario())


def test_without_an_initializer_nobody_calls_it(tmp_path):
    async def scenario():
        spec = function("--initialize", "200", env=QUIET, initializer={"handler": "", "timeout": 3})
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            assert hooks_called(tmp_path, pool.instances()[0]) == ([], {})

    run(scenario())


@pytest.mark.parametrize(
    ("status", "said"),
    [("500", "POST /initialize answered 500"), ("0", "POST /initialize: no answer within 1 s")],
)
def test_an_initializer_that_fails_fails_the_instance(tmp_path, status, said):
    async def scenario():
        spec = function("--initialize", status, initializer={"handler": "h", "timeout": 1})
        slow = replace(FAST, backoff_first_seconds=60.0)
        async with running(tmp_path, Declared(pool_of(spec)), settings=slow) as pool:
            await until(lambda: pool.status("chat-dev", "live").current_error != "", "a failure")
            error = pool.status("chat-dev", "live").current_error
            assert error.startswith(f"its initializer failed: {said}") and "last lines of its log" in error
            # The first retry is at once, then the back-off of a revision that crashes holds.
            await until(lambda: states(pool) == [], "the second failure")
            assert len(list((tmp_path / "logs").glob("i-*.log"))) == 2

    run(scenario())


def test_a_command_runs_as_the_instance_sees_the_world(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_text("of the model")
    seen = tmp_path / "mnt" / "models"
    code = (
        "import os, sys; port = sys.argv[1]\n"
        f"print('weights', open(r'{seen}/weights').read(), os.environ['COLOUR'], port, os.environ['PORT'])\n"
        "print('mounts', os.stat('/proc/self/ns/mnt').st_ino)\n"
        "print(open('/proc/self/cgroup').read())\n"
    )

    async def scenario():
        command = [sys.executable, "-c", code, "${port}"]
        env = {"COLOUR": "red", **QUIET}
        mounts = (("local:/models", str(seen)),)
        spec = function(env=env, mounts=mounts, initializer={"command": command, "timeout": 20})
        nas = {"local": tmp_path}
        async with running(tmp_path, Declared(pool_of(spec)), nas=nas) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            (view,) = pool.instances()
            said = log_of(tmp_path, view)
            assert f"weights of the model red {view.port} {view.port}" in said
            assert f"mounts {os.stat(f'/proc/{view.pid}/ns/mnt').st_ino}" in said
            assert os.stat(f"/proc/{view.pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino
            assert Path(f"/proc/{view.pid}/cgroup").read_text() in said

    with no_mounts_left():
        run(scenario())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["sh", "-c", "echo no luck; exit 3"], "its initializer failed: its command sh exited with code 3"),
        (["sleep", "60"], "its initializer failed: its command sleep: it had not ended after 1 s"),
        (["no-such-tool"], "its command no-such-tool does not exist"),
    ],
)
def test_a_command_that_fails_or_takes_too_long_fails_the_instance(tmp_path, command, said):
    async def scenario():
        spec = function(initializer={"command": command, "timeout": 1})
        slow = replace(FAST, backoff_first_seconds=60.0)
        async with running(tmp_path, Declared(pool_of(spec)), settings=slow) as pool:
            await until(lambda: pool.status("chat-dev", "live").current_error != "", "a failure")
            assert pool.status("chat-dev", "live").current_error.startswith(said)
            await until(lambda: states(pool) == [], "the second failure")
        names = [path.stem for path in (tmp_path / "logs").glob("i-*.log")]
        assert names and not [pid for name in names for pid in marked_processes(name)]

    run(scenario())


def test_the_start_deadline_of_a_function_is_longer_than_the_hosts(tmp_path):
    async def scenario():
        short = replace(FAST, start_deadline_seconds=0.5)
        spec = function("--slow-start", "2", env={"TICKOVER_START_DEADLINE_SECONDS": "30", **QUIET})
        async with running(tmp_path, Declared(pool_of(spec)), settings=short) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            assert pool.status("chat-dev", "live").current_error == ""

    run(scenario())


def test_the_cause_in_the_log_comes_first_in_the_reason(tmp_path):
    async def scenario():
        line = (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
        )
        spec = function("--says", line, "--exit-code", "1")
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: pool.status("chat-dev", "live").current_error != "", "a failure")
            error = pool.status("chat-dev", "live").current_error
            assert error.startswith("the GPU has no memory left for the KV cache")
            assert "(the process exited with code 1)" in error and "this is the last line" in error

    run(scenario())


@pytest.mark.parametrize("sleeps", [False, True], ids=["frozen", "asleep"])
def test_an_idle_instance_is_woken_for_its_pre_stop_hook(tmp_path, sleeps):
    async def scenario():
        arguments = ["--sleeps"] if sleeps else []
        declared = Declared(pool_of(function(*arguments, "--pre-stop", "200", pre_stop=CALLED)))
        async with running(tmp_path, declared) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (view,) = pool.instances()
            assert view.rung == ("sleep" if sleeps else "freeze")
            await ended(pool, declared)
            names, told = hooks_called(tmp_path, view)
            assert names == ["pre-stop"] and told["x-fc-control-path"] == "/pre-stop"

    run(scenario())


def test_an_idle_instance_without_the_hook_is_not_woken_to_be_ended(tmp_path):
    async def scenario():
        declared = Declared(pool_of(function("--sleeps", "--pre-stop", "200")))
        async with running(tmp_path, declared) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (view,) = pool.instances()
            before = log_of(tmp_path, view).count("told to wake_up")
            await ended(pool, declared)
            assert log_of(tmp_path, view).count("told to wake_up") == before
            assert hooks_called(tmp_path, view) == ([], {})

    run(scenario())


def test_the_hook_comes_after_the_last_request_and_before_the_signal(tmp_path):
    async def scenario():
        declared = Declared(pool_of(function("--pre-stop", "200", pre_stop=CALLED)))
        async with running(tmp_path, declared) as pool:
            lease = await pool.acquire("chat-dev", "live")
            (view,) = pool.instances()
            slow = asyncio.create_task(get(lease.port, "/slow?seconds=0.5"))
            declared.pools = ()
            pool.notify()
            await until(lambda: states(pool) == ["draining"], "a drain")
            assert hooks_called(tmp_path, view) == ([], {})
            assert await slow == {"ok": True}
            pool.release(lease)
            await until(lambda: states(pool) == [], "the end")
            assert hooks_called(tmp_path, view)[0] == ["pre-stop"]

    run(scenario())


@pytest.mark.parametrize(
    ("status", "said"),
    [("500", "GET /pre-stop answered 500"), ("0", "GET /pre-stop: no answer within 1 s")],
)
def test_a_pre_stop_hook_that_fails_is_told_and_keeps_nothing(tmp_path, status, said):
    async def scenario():
        hook = {"handler": "h", "timeout": 1}
        declared = Declared(pool_of(function("--pre-stop", status, env=QUIET, pre_stop=hook)))
        database, who = tmp_path / "host.db", Account("here", "42")
        pool = ReservedPool(declared, database, tmp_path, {}, settings=FAST, account=who)
        await pool.start()
        await until(lambda: states(pool) == ["ready"], "ready")
        (view,) = pool.instances()
        await ended(pool, declared)
        await pool.stop(keep_instances=False)
        assert hooks_called(tmp_path, view)[1]["x-fc-account-id"] == "42"
        with contextlib.closing(sqlite3.connect(database)) as rows:
            ((reason,),) = rows.execute("SELECT reason FROM instance").fetchall()
        assert reason.startswith(f"its pool is no longer declared; its preStop failed: {said}")

    run(scenario())


def test_one_that_crashed_gets_no_hook(tmp_path):
    async def scenario():
        spec = function("--pre-stop", "200", env=QUIET, pre_stop=CALLED)
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            (view,) = pool.instances()
            os.kill(view.pid, signal.SIGKILL)
            await until(lambda: [v.instance_id for v in pool.instances()] != [view.instance_id], "its end")
            assert hooks_called(tmp_path, view) == ([], {})

    run(scenario())


def test_a_start_that_a_killed_host_left_is_not_initialized_twice(tmp_path):
    """Nobody knows whether its initializer was called: it is ended, and another one starts."""
    held = tmp_path / "held"
    command = ["sh", "-c", f"echo initialized; while [ ! -e {held} ]; do sleep 0.05; done"]
    hook = {"command": command, "timeout": 60}
    host = Host(tmp_path, initializer=hook)
    (view,) = host.until(in_state("starting"))
    log = tmp_path / "logs" / f"{view['id']}.log"

    async def scenario():
        await until(lambda: "initialized" in log.read_text(), "its initializer")
        host.kill()
        held.touch()
        spec = function(env=QUIET, initializer=hook)
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: states(pool) == ["ready"], "another one")
            assert pool.instances()[0].instance_id != view["id"]
            assert log.read_text().count("initialized") == 1
            assert marked_processes(view["id"]) == []

    run(scenario())


def test_the_command_line_waits_for_the_hooks_when_it_stops_a_host(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "STOP_SECONDS", 0.5)
    home = tmp_path / "home"
    info = start_host(home, 0)
    try:
        client = Served(home, info.url, load_credentials(home / "host" / "credentials.json"), None).client()
        container = fc.CustomContainerConfig(
            image="process://local",
            entrypoint=[sys.executable, TINY],
            command=["--port", "${port}", "--pre-stop", "0"],
        )
        lifecycle = fc.InstanceLifecycleConfig(pre_stop=fc.LifecycleHook(handler="bye", timeout=3))
        function = fc.CreateFunctionInput(
            function_name="bye",
            runtime="custom-container",
            handler="x",
            cpu=1,
            memory_size=1024,
            disk_size=512,
            custom_container_config=container,
            instance_lifecycle_config=lifecycle,
        )
        client.create_function(fc.CreateFunctionRequest(body=function))
        pool = fc.PutProvisionConfigInput(default_target=1)
        client.put_provision_config("bye", fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
        asking = fc.GetProvisionConfigRequest(qualifier="LATEST")
        waited(lambda: client.get_provision_config("bye", asking).body.current == 1)
        (view,) = AdminClient(home).instances()
        began = time.monotonic()
    finally:
        assert stop_host(home)
    assert 3.0 <= time.monotonic() - began < 15.0
    assert "pre-stop {" in (home / "host" / "logs" / f"{view['instance_id']}.log").read_text()
    assert marked_processes(view["instance_id"]) == []
