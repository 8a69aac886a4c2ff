"""What every runtime has to keep, tried on real instances. A new runtime is a new parameter."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.cgroups import a_runtime
from tests.support.host_core import function, get, marked_processes, no_mounts_left, run, until
from tickover.host.probe import connects
from tickover.host.runtimes import logs, procfs
from tickover.host.runtimes.base import Condition, ExitStatus, LaunchPlan, RuntimeFailed
from tickover.host.warmup import HealthRule, until_healthy
from tickover.host.works import free_port

EROFS = 30


@pytest.fixture(params=["signals", "cgroup", "cgroup v1"])
def runtime(request, tmp_path):
    return a_runtime(request.param, tmp_path)


class Rig:
    """Instances of one test."""

    def __init__(self, runtime, folder):
        self.runtime, self.folder = runtime, folder
        self.count = 0
        self.handles = {}

    def plan(self, spec):
        self.count += 1
        name = f"i-{os.getpid()}-{time.monotonic_ns()}-{self.count}"
        return LaunchPlan(
            name,
            spec,
            free_port("127.0.0.1", set()),
            {"local": self.folder},
            self.folder / f"{name}.log",
            self.folder,
        )

    async def spawn(self, *arguments, up=True, **options):
        plan = self.plan(function(*arguments, **options))
        handle = await self.runtime.spawn(
            plan, lambda handle: self.handles.update({plan.instance_id: handle})
        )
        if up:
            trouble = await until_healthy("127.0.0.1", plan.port, HealthRule(None, 0, 1.0, 1), 20.0)
            assert trouble is None, logs.tail(plan.log_path)
        return plan, handle

    async def stop(self, plan, grace=3.0):
        await self.runtime.stop(plan.instance_id, self.handles[plan.instance_id].ref, grace)


@pytest.fixture
def on_rig(runtime, tmp_path):
    def start(scenario):
        async def main():
            rig = Rig(runtime, tmp_path)
            try:
                await scenario(rig)
            finally:
                for name, handle in rig.handles.items():
                    await runtime.stop(name, handle.ref, 0.0)
            assert not [pid for name in rig.handles for pid in marked_processes(name)]

        with no_mounts_left():
            run(main())

    return start


def test_an_instance_runs_in_a_session_of_its_own(on_rig):
    async def scenario(rig):
        plan, handle = await rig.spawn(env={"COLOUR": "red"})
        assert await get(plan.port, "/pid") == {"pid": handle.pid, "session": handle.pid}
        assert await get(plan.port, "/env?name=COLOUR") == {"value": "red"}
        assert await get(plan.port, "/env?name=PORT") == {"value": str(plan.port)}
        assert rig.runtime.condition(handle.ref) is Condition.RUNNING
        assert f"port {plan.port}" in logs.tail(plan.log_path)
        assert plan.log_path.stat().st_mode & 0o777 == 0o600

    on_rig(scenario)


def test_nothing_runs_before_it_is_recorded(on_rig):
    async def scenario(rig):
        plan = rig.plan(function())
        seen = []

        def record(handle):
            seen.append((handle.pid, Path(f"/proc/{handle.pid}/cmdline").read_bytes()))
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="disk is full"):
            await rig.runtime.spawn(plan, record)
        ((pid, words),) = seen
        assert b"host_tiny_server" not in words
        assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 126 << 8
        assert plan.log_path.read_text() == ""

    on_rig(scenario)


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_of_an_instance_is_told_once_with_its_code(on_rig, code):
    async def scenario(rig):
        _, handle = await rig.spawn("--exit-code", str(code), up=False)
        told: asyncio.Queue[ExitStatus] = asyncio.Queue()
        rig.runtime.watch(handle.ref, told.put_nowait)
        assert await told.get() == ExitStatus(code=code)
        assert rig.runtime.condition(handle.ref) is Condition.GONE
        rig.runtime.watch(handle.ref, told.put_nowait)  # of one that is long gone
        assert await told.get() == ExitStatus()
        assert told.empty()

    on_rig(scenario)


def test_the_signal_that_killed_it_is_named(on_rig):
    async def scenario(rig):
        _, handle = await rig.spawn()
        told: asyncio.Queue[ExitStatus] = asyncio.Queue()
        rig.runtime.watch(handle.ref, told.put_nowait)
        os.kill(handle.pid, signal.SIGKILL)
        assert str(await told.get()) == "killed by SIGKILL"

    on_rig(scenario)


def test_a_watch_can_be_taken_back(on_rig):
    async def scenario(rig):
        _, handle = await rig.spawn()
        told = []
        rig.runtime.watch(handle.ref, told.append)()
        kept: asyncio.Queue[ExitStatus] = asyncio.Queue()
        rig.runtime.watch(handle.ref, kept.put_nowait)
        os.kill(handle.pid, signal.SIGKILL)
        await kept.get()
        assert told == []

    on_rig(scenario)


def test_a_command_that_is_not_there_is_said_in_the_log(on_rig):
    async def scenario(rig):
        spec = function()
        container = spec.custom_container_config.model_copy(update={"entrypoint": ["no-such-program"]})
        plan = rig.plan(spec.model_copy(update={"custom_container_config": container}))
        told: asyncio.Queue[ExitStatus] = asyncio.Queue()
        handle = await rig.runtime.spawn(plan, lambda handle: None)
        rig.handles[plan.instance_id] = handle
        rig.runtime.watch(handle.ref, told.put_nowait)
        assert await told.get() == ExitStatus(code=127)
        assert logs.tail(plan.log_path).startswith("tickover: cannot run no-such-program: ")

    on_rig(scenario)


def test_frozen_it_uses_no_time_and_thawed_it_answers(on_rig):
    async def scenario(rig):
        plan, handle = await rig.spawn()
        await rig.runtime.freeze(handle.ref)
        assert rig.runtime.condition(handle.ref) is Condition.FROZEN
        before = Path(f"/proc/{handle.pid}/schedstat").read_text()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await get(plan.port, "/health")
        assert Path(f"/proc/{handle.pid}/schedstat").read_text() == before
        began = time.perf_counter()
        await rig.runtime.thaw(handle.ref)
        assert await connects("127.0.0.1", plan.port, 1.0)
        took = time.perf_counter() - began
        assert rig.runtime.condition(handle.ref) is Condition.RUNNING
        assert await get(plan.port, "/health") == {"ok": True}
        assert took < 5.0

    on_rig(scenario)


def test_freezing_what_is_gone_is_an_error(on_rig):
    async def scenario(rig):
        plan, handle = await rig.spawn()
        await rig.stop(plan)
        for act in (rig.runtime.freeze, rig.runtime.thaw):
            with pytest.raises(RuntimeFailed, match="has ended"):
                await act(handle.ref)

    on_rig(scenario)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_a_stop_is_polite_and_leaves_nobody(on_rig, frozen):
    async def scenario(rig):
        plan, handle = await rig.spawn()
        child = await get(plan.port, "/child")  # in a session of its own, without our signals
        assert child["pid"] in marked_processes(plan.instance_id)
        if frozen:
            await rig.runtime.freeze(handle.ref)
        began = time.perf_counter()
        await rig.stop(plan, grace=0.5)
        assert time.perf_counter() - began < 3.0
        assert marked_processes(plan.instance_id) == []
        assert rig.runtime.condition(handle.ref) is Condition.GONE
        await rig.stop(plan)  # again: nothing to do, no error

    on_rig(scenario)


def test_one_that_ignores_the_signal_is_killed_after_the_grace(on_rig):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    code = f"{deaf}; time.sleep(99)"

    async def scenario(rig):
        spec = function()
        update = {"entrypoint": [sys.executable, "-c", code], "command": None}
        container = spec.custom_container_config.model_copy(update=update)
        plan = rig.plan(spec.model_copy(update={"custom_container_config": container}))
        handle = await rig.runtime.spawn(plan, lambda handle: None)
        rig.handles[plan.instance_id] = handle
        await until(lambda: "deaf" in logs.tail(plan.log_path), "its first word")
        began = time.perf_counter()
        await rig.stop(plan, grace=0.3)
        assert 0.3 <= time.perf_counter() - began < 3.0
        assert rig.runtime.condition(handle.ref) is Condition.GONE

    on_rig(scenario)


def test_a_number_that_was_used_again_is_not_the_instance(on_rig):
    async def scenario(rig):
        _, handle = await rig.spawn()
        identity = procfs.parse_identity(handle.ref)
        for other in (
            procfs.Identity(identity.pid, identity.start_ticks - 1, identity.boot_id),
            procfs.Identity(identity.pid, identity.start_ticks, "another-boot"),
        ):
            assert rig.runtime.condition(str(other)) is Condition.GONE
            await rig.runtime.stop("i-other", str(other), 0.0)
        assert rig.runtime.condition(handle.ref) is Condition.RUNNING

    on_rig(scenario)


def test_a_nas_folder_is_there_to_read_and_leaves_no_trace(on_rig, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_text("of the model")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "file").write_text("is seen as before")
    (tmp_path / "link").symlink_to("beside")
    seen = tmp_path / "mnt" / "models"

    async def scenario(rig):
        mounts = (("local:/models", str(seen)), ("local:/beside", str(tmp_path / "mnt" / "other")))
        plan, _ = await rig.spawn("--words", str(seen), mounts=mounts)
        argv = await get(plan.port, "/argv")
        place = argv["argv"][-1]
        assert await get(plan.port, f"/file?path={place}/weights") == {"text": "of the model"}
        assert await get(plan.port, f"/file?path={tmp_path}/link/file") == {"text": "is seen as before"}
        if "mount namespace" in rig.runtime.describe():
            assert place == str(seen)
            assert await get(plan.port, f"/write?path={place}/new") == {"errno": EROFS}
            assert await get(plan.port, f"/file?path={seen.parent}/other/file") == {
                "text": "is seen as before"
            }
        assert not seen.parent.exists()
        await rig.stop(plan)
        assert not seen.parent.exists()
        assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["weights"]

    on_rig(scenario)


def test_an_existing_folder_is_covered_for_the_instance_only(on_rig, tmp_path):
    for name in ("models", "mnt"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "weights").write_text("of the model")
    (tmp_path / "mnt" / "own").write_text("")

    async def scenario(rig):
        if not await rig.runtime.can_mount():
            pytest.skip("this kernel lets nobody mount in a namespace")
        plan, _ = await rig.spawn(mounts=(("local:/models", str(tmp_path / "mnt")),))
        assert await get(plan.port, f"/file?path={tmp_path}/mnt/weights") == {"text": "of the model"}
        assert [p.name for p in (tmp_path / "mnt").iterdir()] == ["own"]

    on_rig(scenario)


def test_without_namespaces_the_words_name_the_real_folder(on_rig, tmp_path):
    (tmp_path / "models").mkdir()

    async def scenario(rig):
        rig.runtime._can_mount, rig.runtime._mount_trouble = False, "unshare: Operation not permitted"
        plan, _ = await rig.spawn("--words", "/mnt/m/a", mounts=(("local:/models", "/mnt/m"),))
        assert (await get(plan.port, "/argv"))["argv"][-1] == f"{tmp_path}/models/a"
        assert "Operation not permitted" in rig.runtime.describe()

    on_rig(scenario)


def test_a_log_is_cut_while_its_writer_goes_on(on_rig):
    async def scenario(rig):
        plan, _ = await rig.spawn()
        with plan.log_path.open("a") as log:
            log.write("x" * 5000 + "\nlast line\n")
        assert logs.cut(plan.log_path, 4000)
        assert plan.log_path.stat().st_size == 0
        assert plan.log_path.with_suffix(".log.1").read_text().endswith("x\nlast line\n")
        assert not logs.cut(plan.log_path, 4000)
        with contextlib.suppress(OSError, Exception):
            await get(plan.port, "/crash")
        assert "crashing as asked" in logs.tail(plan.log_path)

    on_rig(scenario)
