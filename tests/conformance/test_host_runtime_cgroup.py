"""Instances in cgroups of this machine. Skipped where the host may make none, with the reason."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.cgroups import a_runtime
from tests.support.host_core import function, get, marked_processes, run, until
from tickover.host.gpu.sequence import is_stopped
from tickover.host.runtimes import logs, procfs
from tickover.host.runtimes.base import Condition, ExitStatus, LaunchPlan
from tickover.host.runtimes.cgroup import Role
from tickover.host.runtimes.process import ProcessRuntime
from tickover.host.warmup import HealthRule, until_healthy
from tickover.host.works import free_port

# A child in a session of its own, without our mark: only its cgroup tells whose it is.
STRAY = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    os.execve('/bin/sleep', ['sleep', '60'], {})\n"
    "print('child', flush=True)\n"
    "time.sleep(60)\n"
)
SPIN = "print('spins', flush=True)\nwhile True: pass\n"
EAT = "import time\ntime.sleep(0.2)\nfood = b'x' * (400 << 20)\ntime.sleep(60)\n"
LIMITS = (
    "import resource, time\n"
    "core, files = (resource.getrlimit(n) for n in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE))\n"
    "print(core, files, flush=True)\n"
    "time.sleep(60)\n"
)


class Rig:
    """Instances of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[tuple[LaunchPlan, str]] = []

    async def spawn(self, runtime: ProcessRuntime, code: str = "", **limits) -> tuple[LaunchPlan, str]:
        spec = function().model_copy(update=limits)
        if code:
            update = {"entrypoint": [sys.executable, "-c", code], "command": None}
            container = spec.custom_container_config.model_copy(update=update)
            spec = spec.model_copy(update={"custom_container_config": container})
        name = f"i-{os.getpid()}-{time.monotonic_ns()}"
        plan = LaunchPlan(
            name, spec, free_port("127.0.0.1", set()), {}, self.folder / f"{name}.log", self.folder
        )
        handle = await runtime.spawn(plan, lambda handle: self.started.append((plan, handle.ref)))
        if not code:
            trouble = await until_healthy("127.0.0.1", plan.port, HealthRule(None, 0, 1.0, 1), 20.0)
            assert trouble is None, logs.tail(plan.log_path)
        return plan, handle.ref

    async def said(self, plan: LaunchPlan, word: str) -> str:
        await until(lambda: word in logs.tail(plan.log_path), f"'{word}' in its log")
        return logs.tail(plan.log_path)


@pytest.fixture
def on_rig(tmp_path):
    def start(scenario):
        async def main():
            rig = Rig(tmp_path)
            try:
                await scenario(rig)
            finally:
                sweeper = ProcessRuntime(str(tmp_path))
                for plan, ref in rig.started:
                    await sweeper.stop(plan.instance_id, ref, 0.0)

        run(main())

    return start


@pytest.fixture(params=["cgroup", "cgroup v1"])
def runtime(request, tmp_path):
    return a_runtime(request.param, tmp_path)


def cgroup_of(runtime, ref):
    found = runtime._cgroups.of(ref)
    assert found is not None
    return found


def test_it_is_in_a_cgroup_of_its_own_before_it_runs_and_the_host_is_not(runtime, on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(runtime)
        cgroup = cgroup_of(runtime, ref)
        pid = procfs.parse_identity(ref).pid
        for folder in cgroup.folders:
            assert folder.name == plan.instance_id
            pids = (folder / "cgroup.procs").read_text().split()
            assert str(pid) in pids and str(os.getpid()) not in pids
        assert "frozen and ended by cgroup" in runtime.describe()
        await runtime.stop(plan.instance_id, ref, 3.0)
        assert not any(folder.exists() for folder in cgroup.folders)
        assert not any(folder.parent.exists() for folder in cgroup.folders)

    on_rig(scenario)


def test_a_stray_child_is_frozen_and_ended_too(runtime, on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(runtime, STRAY)
        await rig.said(plan, "child")
        cgroup = cgroup_of(runtime, ref)
        await until(lambda: len(cgroup.pids()) == 2, "its child")
        child = next(pid for pid in cgroup.pids() if pid != procfs.parse_identity(ref).pid)
        await until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "its program")
        assert child not in marked_processes(plan.instance_id)
        await runtime.freeze(ref)
        assert is_stopped(child) is True and runtime.condition(ref) is Condition.FROZEN
        assert procfs.read_stat(child).state != "T"
        await runtime.thaw(ref)
        assert is_stopped(child) is False and runtime.condition(ref) is Condition.RUNNING
        await runtime.freeze(ref)
        await runtime.stop(plan.instance_id, ref, 0.2)
        assert procfs.read_stat(child) is None or not procfs.read_stat(child).is_alive
        assert not any(folder.exists() for folder in cgroup.folders)

    on_rig(scenario)


def test_frozen_it_uses_no_processor(runtime, on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(runtime, SPIN)
        await rig.said(plan, "spins")
        pid = procfs.parse_identity(ref).pid
        await runtime.freeze(ref)
        before = Path(f"/proc/{pid}/schedstat").read_text()
        await asyncio.sleep(0.2)
        assert Path(f"/proc/{pid}/schedstat").read_text() == before
        await runtime.thaw(ref)
        await until(lambda: Path(f"/proc/{pid}/schedstat").read_text() != before, "its going on")

    on_rig(scenario)


def test_the_processor_is_limited_to_what_the_function_asks_for(tmp_path, on_rig):
    runtime = a_runtime("cgroup", tmp_path, Role.CPU)

    async def scenario(rig):
        plan, ref = await rig.spawn(runtime, SPIN, cpu=0.2)
        await rig.said(plan, "spins")
        pid = procfs.parse_identity(ref).pid
        began = time.perf_counter()
        before = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        await asyncio.sleep(1.5)
        used = (int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) - before) / 1e9
        share = used / (time.perf_counter() - began)
        assert share < 0.3, f"{share:.2f} cores"

    on_rig(scenario)


def test_memory_beyond_the_limit_ends_it_with_a_clear_reason(tmp_path, on_rig):
    runtime = a_runtime("cgroup", tmp_path, Role.MEMORY)

    async def scenario(rig):
        _, ref = await rig.spawn(runtime, EAT, memory_size=128)
        told: asyncio.Queue[ExitStatus] = asyncio.Queue()
        runtime.watch(ref, told.put_nowait)
        assert str(await told.get()) == "killed: it used more than its memorySize of 128 MB"
        _, ref = await rig.spawn(runtime, EAT, memory_size=None)
        await asyncio.sleep(1.5)
        assert runtime.condition(ref) is Condition.RUNNING

    on_rig(scenario)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_the_next_host_takes_over_what_has_a_cgroup(runtime, on_rig, tmp_path, frozen):
    async def scenario(rig):
        plan, ref = await rig.spawn(runtime)
        folders = cgroup_of(runtime, ref).folders
        if frozen:
            await runtime.freeze(ref)
        await runtime.close()  # the former host ends and leaves it
        fresh = ProcessRuntime(str(tmp_path), "off")  # even one that would make none
        assert fresh.condition(ref) is (Condition.FROZEN if frozen else Condition.RUNNING)
        if frozen:
            await fresh.thaw(ref)
        assert await get(plan.port, "/health") == {"ok": True}
        await fresh.freeze(ref)
        assert is_stopped(procfs.parse_identity(ref).pid)
        await fresh.stop(plan.instance_id, ref, 3.0)
        assert fresh.condition(ref) is Condition.GONE
        assert not any(folder.exists() for folder in folders)

    on_rig(scenario)


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_what_a_host_without_cgroups_started_goes_on_as_before(runtime, on_rig, tmp_path, frozen):
    async def scenario(rig):
        former = ProcessRuntime()
        plan, ref = await rig.spawn(former)
        pid = procfs.parse_identity(ref).pid
        if frozen:
            await former.freeze(ref)
            assert procfs.read_stat(pid).state == "T"
        await runtime.open([ref])
        assert runtime.condition(ref) is (Condition.FROZEN if frozen else Condition.RUNNING)
        await runtime.thaw(ref)
        assert await get(plan.port, "/health") == {"ok": True}
        await runtime.freeze(ref)
        assert procfs.read_stat(pid).state == "T"
        await runtime.collect([ref])
        await runtime.stop(plan.instance_id, ref, 3.0)
        assert runtime.condition(ref) is Condition.GONE

    on_rig(scenario)


def test_the_cgroup_of_one_that_died_while_no_host_was_there_is_removed(runtime, on_rig, tmp_path):
    async def scenario(rig):
        plan, ref = await rig.spawn(runtime)
        lost, lost_ref = await rig.spawn(runtime)
        folders = cgroup_of(runtime, ref).folders + cgroup_of(runtime, lost_ref).folders
        for one in (ref, lost_ref):
            os.kill(procfs.parse_identity(one).pid, signal.SIGKILL)
            await until(lambda one=one: runtime.condition(one) is Condition.GONE, "its end")
        fresh = type(runtime)(str(tmp_path))
        fresh._cgroups._files = runtime._cgroups._files
        await fresh.open([ref])
        await fresh.stop(plan.instance_id, ref, 0.0)  # what the pool does with one that is gone
        await fresh.collect([])  # of the other nobody knows
        assert not any(folder.exists() for folder in folders), lost

    on_rig(scenario)


def test_a_start_that_cannot_be_recorded_leaves_no_cgroup(runtime, on_rig):
    async def scenario(rig):
        await runtime.open([])
        home = runtime._cgroups._grounds.homes[0]
        made = []

        async def fail():
            plan = LaunchPlan("i-never", function(), 1, {}, rig.folder / "log", rig.folder)

            def record(handle):
                made.append((home / "i-never").exists())
                raise OSError("the disk is full")

            await runtime.spawn(plan, record)

        with pytest.raises(OSError, match="disk is full"):
            await fail()
        assert made == [True] and not (home / "i-never").exists() and not home.exists()

    on_rig(scenario)


def test_it_leaves_no_core_and_may_open_as_many_files_as_are_allowed(tmp_path, on_rig):
    async def scenario(rig):
        plan, _ = await rig.spawn(ProcessRuntime(), LIMITS)
        said = await rig.said(plan, ") (")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        allowed = 1 << 20 if hard == resource.RLIM_INFINITY else min(hard, 1 << 20)
        assert said.split("\n")[-1] == f"(0, 0) ({max(allowed, 0)}, {hard})"

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        on_rig(scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
