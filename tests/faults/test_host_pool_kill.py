"""kill -9 of the host at any point: the next one adopts or ends what is left, and the meter adds up."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.host_core import (
    Declared,
    function,
    get,
    marked_processes,
    pool_of,
    run,
    running,
    states,
    until,
)
from tests.support.metered import metered
from tickover.host.clock import SECOND_NS

SCRIPT = str(Path(__file__).parents[1] / "support" / "host_core_host.py")


class Host:
    """A host in a process of its own."""

    def __init__(self, folder, **given):
        root = str(Path(__file__).parents[2])
        self.folder = folder
        self.log = (folder / "host-stderr").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, str(folder), json.dumps(given)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": root},
            text=True,
        )

    def until(self, is_it):
        """Read what it tells until is_it(instances) holds."""
        for line in self.process.stdout:
            if not line.startswith("["):
                continue  # its log
            views = json.loads(line)
            if is_it(views):
                return views
        raise AssertionError((self.folder / "host-stderr").read_text())

    def kill(self):
        self.process.kill()
        self.close()

    def close(self):
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def in_state(*wanted):
    return lambda views: sorted(v["state"] for v in views) == sorted(wanted)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def assert_all_adds_up(folder):
    found = metered(folder / "host.db")
    assert all(total == span for total, span in found.values()), found


@pytest.mark.parametrize("state", ["idle", "ready", "busy"])
def test_a_killed_host_leaves_instances_that_the_next_one_adopts(tmp_path, state):
    host = Host(tmp_path, target=2, linger=60 if state == "ready" else 0.1, hold=state == "busy")
    wanted = {"idle": ("idle", "idle"), "ready": ("ready", "ready"), "busy": ("busy", "idle")}[state]
    try:
        before = host.until(in_state(*wanted))
        time.sleep(0.3)  # a heartbeat
    finally:
        host.kill()

    async def scenario():
        began = time.monotonic()
        async with running(tmp_path, Declared(pool_of(target=2))) as pool:
            assert time.monotonic() - began < 5.0
            adopted = {v.instance_id: v.pid for v in pool.instances()}
            assert adopted == {v["id"]: v["pid"] for v in before}
            lease = await pool.acquire("chat-dev", "live")
            assert (await get(lease.port, "/pid"))["pid"] == adopted[lease.instance_id]
            pool.release(lease)
            await until(lambda: states(pool) == ["idle", "idle"], "idle")
            assert len(pool.instances()) == 2
            classes = {row.billing_class.value for row in pool.usage(0, 2**62).rows}
            assert classes >= {"starting", "idle", "busy"}

    run(scenario())
    assert not any(marked_processes(v["id"]) for v in before)
    assert_all_adds_up(tmp_path)


def test_an_adopted_instance_that_dies_is_noticed_and_replaced(tmp_path):
    host = Host(tmp_path)
    try:
        (before,) = host.until(in_state("idle"))
    finally:
        host.kill()

    async def scenario():
        async with running(tmp_path, Declared(pool_of())) as pool:
            os.kill(before["pid"], signal.SIGKILL)  # no child of ours any more
            await until(lambda: pool.instances()[-1].instance_id != before["id"], "the replacement")
            await until(lambda: states(pool) in (["ready"], ["idle"]), "ready")

    run(scenario())
    assert_all_adds_up(tmp_path)


def test_a_host_killed_in_the_middle_of_a_pre_stop_hook_has_billed_it_to_its_last_heartbeat(tmp_path):
    """The hook never answers. It is billed as active, without a gap before it, and is not called again."""
    hook, quiet = {"handler": "bye", "timeout": 60}, ["--pre-stop", "0"]
    host = Host(tmp_path, pre_stop=hook, arguments=quiet, retires=True, linger=60)
    (view,) = host.until(in_state("stopping"))
    log = tmp_path / "logs" / f"{view['id']}.log"
    try:
        while "pre-stop" not in log.read_text():
            time.sleep(0.02)
        time.sleep(0.7)  # some heartbeats
    finally:
        host.kill()
    with contextlib.closing(sqlite3.connect(tmp_path / "host.db")) as database:
        ((beat,),) = database.execute("SELECT mono_ns FROM heartbeat").fetchall()

    async def scenario():
        async with running(tmp_path, Declared()) as pool:
            await until(lambda: pool.instances() == (), "its end")

    run(scenario())
    assert log.read_text().count("pre-stop {") == 1 and marked_processes(view["id"]) == []
    assert_all_adds_up(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "host.db")) as database:
        rows = database.execute(
            "SELECT billing_class, end_mono_ns, end_mono_ns - start_mono_ns FROM interval ORDER BY 2, 3"
        ).fetchall()
    assert [row[0] for row in rows] == ["starting", "idle", "busy"]
    assert rows[-1][1] == beat and rows[-1][2] > SECOND_NS // 4


def test_a_host_killed_between_record_and_exec_leaves_no_process(tmp_path):
    host = Host(tmp_path, crash_at="recorded")
    host.process.wait()
    host.close()
    assert host.process.returncode == -signal.SIGKILL
    with sqlite3.connect(tmp_path / "host.db") as database:
        ((name, pid),) = database.execute("SELECT instance_id, pid FROM instance").fetchall()
    database.close()

    async def scenario():
        await until(lambda: not is_alive(pid), "the end of the launcher")
        assert marked_processes(name) == []
        async with running(tmp_path, Declared(pool_of())) as pool:
            assert name not in [v.instance_id for v in pool.instances()]
            await until(lambda: states(pool) in (["ready"], ["idle"]), "its replacement")

    run(scenario())
    assert_all_adds_up(tmp_path)


def test_a_host_killed_in_the_middle_of_a_start_is_taken_over(tmp_path):
    host = Host(tmp_path, arguments=["--slow-start", "0.8"])
    try:
        (before,) = host.until(in_state("starting"))
    finally:
        host.kill()

    async def scenario():
        declared = Declared(pool_of(function("--slow-start", "0.8")))
        async with running(tmp_path, declared) as pool:
            assert [(v.instance_id, v.state.value) for v in pool.instances()] == [(before["id"], "starting")]
            lease = await pool.acquire("chat-dev", "live")
            assert lease.instance_id == before["id"]
            pool.release(lease)

    run(scenario())
    assert_all_adds_up(tmp_path)
    assert marked_processes(before["id"]) == []


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_killed_at_any_moment_no_instance_is_lost(tmp_path, delay):
    """Two hosts are killed one after the other; what the third ends is all there ever was."""
    for _ in range(2):
        host = Host(tmp_path, target=2)
        try:
            host.until(lambda views: True)
            time.sleep(delay)
        finally:
            host.kill()

    async def scenario():
        async with running(tmp_path, Declared(pool_of(target=2))) as pool:
            await until(
                lambda: len(pool.instances()) == 2 and set(states(pool)) <= {"ready", "idle"}, "the pool"
            )

    run(scenario())
    with sqlite3.connect(tmp_path / "host.db") as database:
        rows = database.execute("SELECT instance_id, pid, destroyed_wall_ns FROM instance").fetchall()
    database.close()
    assert rows
    for name, _, destroyed in rows:
        assert destroyed is not None
        assert marked_processes(name) == []
    assert_all_adds_up(tmp_path)


def test_what_is_no_longer_declared_is_ended(tmp_path):
    host = Host(tmp_path, target=2)
    try:
        before = host.until(in_state("idle", "idle"))
    finally:
        host.kill()

    async def scenario():
        async with running(tmp_path, Declared()) as pool:
            await until(lambda: pool.instances() == (), "the end of both")

    run(scenario())
    assert not any(is_alive(v["pid"]) for v in before)
    assert_all_adds_up(tmp_path)


def test_children_of_an_instance_that_died_without_a_host_are_ended(tmp_path):
    async def adopt_nothing(name):
        async with running(tmp_path, Declared()):
            await until(lambda: marked_processes(name) == [], "the end of its child")

    async def child_of(pool):
        lease = await pool.acquire("chat-dev", "live")
        child = await get(lease.port, "/child")
        pool.release(lease)
        return lease.instance_id, child["pid"]

    async def scenario():
        async with running(tmp_path, Declared(pool_of()), keep=True) as pool:
            name, child = await child_of(pool)
            (view,) = pool.instances()
        os.kill(view.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, view.pid, 0)
        assert is_alive(child)
        await adopt_nothing(name)

    run(scenario())
    assert_all_adds_up(tmp_path)
