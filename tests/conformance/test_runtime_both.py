"""What processes and containers both have to keep, with the same assertions."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest

from tests.support.docker_engine import docker_engine
from tests.support.docker_runtime import DEAF, Rig, docker_runtime, pushed, spec
from tests.support.host_core import run, until
from tickover.host.runtimes import logs
from tickover.host.runtimes.base import Condition, ExitStatus, RuntimeFailed
from tickover.host.runtimes.process import ProcessRuntime

__all__ = ["docker_engine"]


@pytest.fixture(params=["process", "docker"])
def kind(request):
    """How to make a runtime of this kind, the image that it takes, and where its servers listen."""
    if request.param == "process":
        return (lambda folder: ProcessRuntime(str(folder))), "process://local", "127.0.0.1:"
    engine = request.getfixturevalue("docker_engine")
    image = asyncio.run(pushed(engine, "it/both:1"))
    return (lambda folder: docker_runtime(engine, folder)), image, ""


@pytest.fixture
def on_rig(kind, tmp_path):
    make, image, address = kind

    def start(scenario):
        async def main():
            rig = Rig(make(tmp_path), tmp_path, image, address)
            rig.fresh = lambda: Rig(make(tmp_path), tmp_path, image, address)
            try:
                await scenario(rig)
            finally:
                await rig.end()

        run(main())

    return start


def listening(runtime, ref):
    told: asyncio.Queue[ExitStatus] = asyncio.Queue()
    runtime.watch(ref, told.put_nowait)
    return told


def test_an_instance_answers_on_its_port_with_its_words_and_variables(on_rig, monkeypatch):
    monkeypatch.setenv("TICKOVER_TEST_OF_THE_HOST", "not for instances")

    async def scenario(rig):
        words = ("", "two words", "--flag=${port}", "$HOME", "a'b\"c")
        function = rig.server(*words, environmentVariables={"COLOUR": "red", "URL": "http://x:${port}/"})
        plan, ref = await rig.spawn(function, up=True)
        inner = rig.inner_port(plan)
        argv = (await rig.get(plan, "argv")).splitlines()
        assert argv[2:] == ["", "two words", f"--flag={inner}", "$HOME", "a'b\"c"]
        env = dict(line.split("=", 1) for line in (await rig.get(plan, "env")).splitlines() if "=" in line)
        assert env["COLOUR"] == "red" and env["URL"] == f"http://x:{inner}/"
        assert env["PORT"] == env["FC_SERVER_PORT"] == str(inner)
        assert env["TICKOVER_INSTANCE_ID"] == plan.instance_id
        assert "TICKOVER_TEST_OF_THE_HOST" not in env
        assert rig.runtime.condition(ref) is Condition.RUNNING
        await until(lambda: "serving" in logs.tail(plan.log_path), "its word in the log")
        assert plan.log_path.stat().st_mode & 0o777 == 0o600

    on_rig(scenario)


def test_nothing_runs_before_it_is_recorded_and_nothing_is_left_if_it_cannot_be(on_rig):
    async def scenario(rig):
        plan = rig.plan(rig.server())
        seen = []

        def record(handle):
            seen.append(handle.ref)
            with pytest.raises(ConnectionRefusedError):  # a started container's port is forwarded at once
                socket.create_connection((rig.runtime.host, plan.port), 1.0).close()
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="disk is full"):
            await rig.runtime.spawn(plan, record)
        (ref,) = seen
        fresh = rig.fresh()
        await until_gone(fresh.runtime, ref)
        assert await fresh.runtime.collect(()) == ()
        assert "serving" not in logs.tail(plan.log_path) and not (rig.folder / "shown").exists()
        await fresh.end()

    on_rig(scenario)


async def until_gone(runtime, ref):
    await runtime.open([ref])
    await until(lambda: runtime.condition(ref) is Condition.GONE, "its end")


@pytest.mark.parametrize("code", [0, 3])
def test_its_exit_is_told_with_its_code_and_its_last_words_are_in_the_log(on_rig, code):
    async def scenario(rig):
        plan, ref = await rig.spawn(spec(f"echo last words; exit {code}", image=rig.image))
        told = listening(rig.runtime, ref)
        assert await told.get() == ExitStatus(code=code)
        assert logs.tail(plan.log_path).splitlines()[-1] == "last words"
        assert rig.runtime.condition(ref) is Condition.GONE
        await listening(rig.runtime, ref).get()  # of one that is long gone
        assert told.empty()

    on_rig(scenario)


def test_the_signal_that_killed_it_is_named(on_rig):
    async def scenario(rig):
        _, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        await rig.murder(ref)
        assert str(await told.get()) == "killed by SIGKILL"

    on_rig(scenario)


def test_a_watch_can_be_taken_back(on_rig):
    async def scenario(rig):
        _, ref = await rig.spawn(rig.server(), up=True)
        told = []
        rig.runtime.watch(ref, told.append)()
        kept = listening(rig.runtime, ref)
        await rig.murder(ref)
        await kept.get()
        assert told == []

    on_rig(scenario)


def test_frozen_it_is_silent_and_thawed_it_answers(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        for _ in range(2):
            await rig.runtime.freeze(ref)
            assert rig.runtime.condition(ref) is Condition.FROZEN
            await rig.runtime.freeze(ref)  # again: it is what was asked for
            assert await rig.is_silent(plan)
            await rig.runtime.thaw(ref)
            assert rig.runtime.condition(ref) is Condition.RUNNING
            await rig.runtime.thaw(ref)
            assert "PORT=" in await rig.get(plan, "env")

    on_rig(scenario)


def test_freezing_what_is_gone_is_an_error(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        await rig.stop(plan)
        for act in (rig.runtime.freeze, rig.runtime.thaw):
            with pytest.raises(RuntimeFailed, match="has ended"):
                await act(ref)
        assert rig.runtime.condition(ref) is Condition.GONE

    on_rig(scenario)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_a_stop_is_polite_and_tells_who_watches(on_rig, frozen):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        pid = await rig.pid(ref)
        if frozen:
            await rig.runtime.freeze(ref)
        began = time.perf_counter()
        await rig.stop(plan, grace=8.0)
        assert time.perf_counter() - began < 6.0
        assert await told.get() in (ExitStatus(code=0), ExitStatus())
        assert "polite" in logs.tail(plan.log_path)
        assert rig.runtime.condition(ref) is Condition.GONE
        assert not is_alive(pid)
        await rig.stop(plan)  # again: nothing to do, no error

    on_rig(scenario)


def test_a_stop_without_grace_asks_nothing(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        pid = await rig.pid(ref)
        await rig.stop(plan, grace=0.0)
        assert "polite" not in logs.tail(plan.log_path)
        assert rig.runtime.condition(ref) is Condition.GONE and not is_alive(pid)

    on_rig(scenario)


def test_one_that_ignores_the_signal_is_killed_after_the_grace(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(spec(DEAF, image=rig.image))
        await until(lambda: "deaf" in logs.tail(plan.log_path), "its first word")
        pid = await rig.pid(ref)
        began = time.perf_counter()
        await rig.stop(plan, grace=0.5)
        assert 0.5 <= time.perf_counter() - began < 5.0
        assert rig.runtime.condition(ref) is Condition.GONE and not is_alive(pid)

    on_rig(scenario)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_a_later_host_takes_it_over(on_rig, frozen):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        if frozen:
            await rig.runtime.freeze(ref)
        fresh = rig.fresh()
        try:
            await fresh.runtime.open([ref, *([] if rig.runtime.name == "process" else ["0" * 64])])
            assert fresh.runtime.condition(ref) is (Condition.FROZEN if frozen else Condition.RUNNING)
            told = listening(fresh.runtime, ref)
            if frozen:
                await fresh.runtime.thaw(ref)
            assert fresh.runtime.condition(ref) is Condition.RUNNING
            assert "PORT=" in await fresh.get(plan, "env")
            assert await fresh.runtime.collect([ref]) == ()
            assert told.empty()
            await fresh.runtime.stop(plan.instance_id, ref, 5.0)
            await told.get()
            assert "polite" in logs.tail(plan.log_path)
            assert fresh.runtime.condition(ref) is Condition.GONE
        finally:
            await fresh.end()

    on_rig(scenario)


def test_one_that_ended_while_no_host_was_there_is_gone(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        await rig.murder(ref)
        await told.get()
        fresh = rig.fresh()
        try:
            await fresh.runtime.open([ref])
            assert fresh.runtime.condition(ref) is Condition.GONE
            await fresh.runtime.stop(plan.instance_id, ref, 0.0)
        finally:
            await fresh.end()

    on_rig(scenario)


def test_a_nas_folder_is_there_to_read_only(on_rig, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_text("of the model")
    seen = tmp_path / "mnt" / "models"

    async def scenario(rig):
        if rig.runtime.name == "process" and not await rig.runtime.can_mount():
            pytest.skip("this kernel lets nobody mount in a namespace")
        points = [{"serverAddr": "local:/models", "mountDir": str(seen)}]
        plan, _ = await rig.spawn(rig.server(str(seen), nasConfig={"mountPoints": points}), up=True)
        assert await rig.get(plan, "read") == "of the model"
        assert (await rig.get(plan, "write")).strip() != "0"
        await rig.stop(plan)
        assert [p.name for p in (tmp_path / "models").iterdir()] == ["weights"]
        assert not seen.exists()

    on_rig(scenario)


@pytest.mark.parametrize(
    "server, why",
    [("other:/models", "NAS 'other' is not known"), ("local:/absent", "absent of local:/absent does not")],
)
def test_a_nas_folder_that_is_not_there_is_refused_before_anything_is_made(on_rig, server, why):
    async def scenario(rig):
        points = [{"serverAddr": server, "mountDir": "/mnt/models"}]
        plan = rig.plan(rig.server("/mnt/models", nasConfig={"mountPoints": points}))
        recorded = []
        with pytest.raises(RuntimeFailed, match=why):
            await rig.runtime.spawn(plan, recorded.append)
        assert recorded == [] and not plan.log_path.exists()

    on_rig(scenario)


def sh(script):
    return ["busybox", "sh", "-c", script]


def test_a_command_runs_inside_with_the_variables_and_mounts_of_the_instance(on_rig, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_text("of the model")
    seen = tmp_path / "mnt" / "models"

    async def scenario(rig):
        if rig.runtime.name == "process" and not await rig.runtime.can_mount():
            pytest.skip("this kernel lets nobody mount in a namespace")
        points = [{"serverAddr": "local:/models", "mountDir": str(seen)}]
        env = {"COLOUR": "red"}
        function = rig.server(nasConfig={"mountPoints": points}, environmentVariables=env)
        plan, ref = await rig.spawn(function, up=True)
        script = f"busybox cat {seen}/weights; echo; echo $COLOUR $PORT ${{port}} $0 $1; echo bad >&2; exit 7"
        argv = [*sh(script), "first word", "${port}"]
        assert await rig.runtime.execute(ref, plan, argv, 20.0) == ExitStatus(code=7)
        inner = rig.inner_port(plan)
        said = logs.tail(plan.log_path)
        assert "of the model" in said and "bad" in said
        assert f"red {inner} {inner} first word {inner}" in said
        assert rig.runtime.condition(ref) is Condition.RUNNING
        assert "PORT=" in await rig.get(plan, "env")

    on_rig(scenario)


def test_a_command_that_takes_too_long_is_ended_and_the_instance_lives_on(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        began = time.perf_counter()
        with pytest.raises(RuntimeFailed, match="had not ended"):
            await rig.runtime.execute(ref, plan, sh("echo begun; busybox sleep 543"), 0.5)
        assert time.perf_counter() - began < 3.0
        assert "begun" in logs.tail(plan.log_path)
        await until(lambda: not sleeping("543"), "its end")
        assert rig.runtime.condition(ref) is Condition.RUNNING
        assert "PORT=" in await rig.get(plan, "env")

    on_rig(scenario)


def test_a_command_that_is_not_there_is_no_success(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        try:
            status = await rig.runtime.execute(ref, plan, ["no-such-tool"], 20.0)
        except RuntimeFailed as error:
            assert "no-such-tool" in error.reason or "command" in error.reason
        else:
            assert status.code in (126, 127)
            assert "no-such-tool" in logs.tail(plan.log_path)

    on_rig(scenario)


def test_no_command_runs_in_what_has_ended(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(rig.server(), up=True)
        await rig.stop(plan)
        with pytest.raises(RuntimeFailed):
            await rig.runtime.execute(ref, plan, sh("echo never"), 20.0)
        assert "never" not in logs.tail(plan.log_path)

    on_rig(scenario)


def sleeping(seconds):
    """Living processes that sleep for so long, on the whole machine."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if file.read().split(b"\0")[-3:-1] == [b"sleep", seconds.encode()] and is_alive(name):
                        found.append(name)
            except OSError:
                continue  # it has ended
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
