"""Instances as processes of this machine.

Owns: birth, freezing and end of an instance's processes. Promises: each instance is a session of its own, and
a cgroup of its own where the host may make one; its first process waits until its handle is recorded; its
mounts are seen by itself only; after `stop` none of its processes is left. Never: keeps an instance from
outliving the host (the next one adopts it).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from tickover.host.looks import Looks
from tickover.host.runtimes import launch, procfs
from tickover.host.runtimes.base import Condition, ExitStatus, Handle, LaunchPlan, RuntimeFailed
from tickover.host.runtimes.cgroup import Cgroup, Limits
from tickover.host.runtimes.cgroup_keeper import CgroupKeeper
from tickover.host.runtimes.command import Command, build, with_argv
from tickover.host.runtimes.logs import open_log

log = structlog.get_logger(__name__)

IMAGE_SCHEME = "process://"
_STOP_WAIT_SECONDS = 1.0  # for the kernel to report a stopped process
_REMOVE_WAIT_SECONDS = 1.0  # for the kernel to let go of a cgroup whose processes have just ended
_KILL_WAIT_SECONDS = 5.0
_PIPE_BYTES = 65536
# Python ignores these and an ignored signal stays ignored across exec.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGXFSZ)
_PROBE = (
    "import errno, sys\n"
    "folder = sys.argv[1]\n"
    "assert open(folder + '/probe').read() == 'here'\n"
    "try:\n    open(folder + '/other', 'w')\n"
    "except OSError as error:\n    sys.exit(error.errno != errno.EROFS)\n"
    "sys.exit(1)\n"
)


class ProcessRuntime:
    """The runtime of ``process://`` images.

    owner: the host's data folder, by which its cgroups are known; without one there are none. cgroup: what
    the user says of cgroups (see `cgroup_ground.survey`).
    """

    name = "process"
    host = "127.0.0.1"
    is_forwarded = False

    def __init__(self, owner: str = "", cgroup: str = "") -> None:
        self._looks = Looks()
        self._can_mount: bool | None = None
        self._mount_trouble = ""
        self._cgroups = CgroupKeeper(owner, cgroup)

    async def open(self, refs: Collection[str]) -> None:
        """Of the instances /proc tells at once."""
        await self._cgroups.open()

    async def close(self) -> None:
        """Nothing to do: watches are taken back by those who asked for them."""

    async def collect(self, living: Collection[str]) -> tuple[str, ...]:
        """No instance is ever left, for a process that was not recorded ends by itself; a cgroup may be."""
        self._cgroups.collect(living)
        return ()

    def accepts(self, image: str) -> bool:
        return image.startswith(IMAGE_SCHEME)

    def describe(self) -> str:
        if self._can_mount is None:
            mounts = "NAS mounts not tried yet"
        elif self._can_mount:
            mounts = "NAS folders are read-only mounts in a mount namespace"
        else:
            mounts = f"mountDir is replaced in the command by the real folder ({self._mount_trouble})"
        return f"process: {mounts}; {self._cgroups.describe()}"

    # -- start -----------------------------------------------------------------------------------------

    async def spawn(self, plan: LaunchPlan, record: Callable[[Handle], None]) -> Handle:
        command = await self._command(plan)
        limits = Limits(plan.spec.memory_size, plan.spec.cpu)
        async with self._cgroups.making(plan.instance_id, limits) as cgroup:
            handle, cgroup = await self._start(command, plan, cgroup, record)
            self._cgroups.keep(handle.ref, cgroup)
        return handle

    async def _command(self, plan: LaunchPlan) -> Command:
        has_mounts = bool(plan.spec.nas_config and plan.spec.nas_config.mount_points)
        can_mount = await self.can_mount() if has_mounts else False

        bin_dir = Path(sys.executable).parent
        return await self._looks.of(plan.spec, lambda: build(plan, os.environ, bin_dir, can_mount=can_mount))

    async def _start(
        self,
        command: Command,
        plan: LaunchPlan,
        cgroup: Cgroup | None,
        record: Callable[[Handle], None],
        beside: int | None = None,
    ) -> tuple[Handle, Cgroup | None]:
        """A process that runs the command once it is recorded, and the cgroup that it is in.

        beside: the instance's first process, where this is another one of it; it sees the very same mounts.
        """
        try:
            written = open_log(plan.log_path)
            try:
                pid, pipe = _born(written)
            finally:
                os.close(written)
        except OSError as error:
            raise RuntimeFailed(f"no process could be started: {error.strerror}") from error
        with contextlib.closing(_Pipe(pipe)) as word:
            identity = procfs.identify(pid)
            if identity is None:
                raise RuntimeFailed("the process ended before it began")
            entered = await self._cgroups.enter(plan.instance_id, cgroup, pid)
            if beside is not None and cgroup is not None and entered is None:
                raise RuntimeFailed(
                    "it could not be put into the cgroup of its instance"
                )  # and ended with it
            handle = Handle(str(identity), pid)
            record(handle)  # if this fails, the pipe closes and the process ends
            try:
                word.send(_plan_text(command, plan.work_dir, beside if command.mounts else None))
            except OSError as error:
                raise RuntimeFailed(f"the process did not take its plan: {error.strerror}") from error
        return handle, entered

    async def can_mount(self) -> bool:
        """Whether this kernel lets us mount in a namespace; tried once, for real."""
        if self._can_mount is None:
            self._mount_trouble = await asyncio.to_thread(try_mount)
            self._can_mount = not self._mount_trouble
        return self._can_mount

    # -- life ------------------------------------------------------------------------------------------

    def condition(self, ref: str) -> Condition:
        stat = procfs.find(procfs.parse_identity(ref))
        if stat is None or not stat.is_alive:
            return Condition.GONE
        # One that a host was killed in the middle of freezing counts as frozen: it has to be thawed.
        cgroup = self._cgroups.of(ref)
        is_frozen = stat.is_stopped or (cgroup is not None and cgroup.is_held)
        return Condition.FROZEN if is_frozen else Condition.RUNNING

    def members(self, instance_id: str, ref: str) -> Collection[int]:
        return _members(procfs.parse_identity(ref), instance_id, self._cgroups.of(ref))

    def watch(self, ref: str, on_exit: Callable[[ExitStatus], None]) -> Callable[[], None]:
        identity = procfs.parse_identity(ref)
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return loop.call_soon(on_exit, ExitStatus()).cancel
        if procfs.find(identity) is None:  # another process has the number now
            os.close(descriptor)
            return loop.call_soon(on_exit, ExitStatus()).cancel
        is_watching = True
        cgroup = self._cgroups.of(ref)  # asked now: a dead process does not tell

        def unwatch() -> None:
            nonlocal is_watching
            if is_watching:
                is_watching = False
                loop.remove_reader(descriptor)
                os.close(descriptor)

        def ended() -> None:
            status = _reap(identity.pid)
            unwatch()
            limit = cgroup.outgrown() if cgroup and status.code != 0 else None
            if limit is not None:
                status = replace(status, why=f"it used more than its memorySize of {limit} MB")
            on_exit(status)

        loop.add_reader(descriptor, ended)
        return unwatch

    async def freeze(self, ref: str) -> None:
        identity = self._living(ref)
        cgroup = self._cgroups.of(ref)
        if not _set_frozen(cgroup, True):
            _signal_group(identity.pid, signal.SIGSTOP)
        deadline = asyncio.get_running_loop().time() + _STOP_WAIT_SECONDS
        while self.condition(ref) is not Condition.GONE and not _is_still(identity, cgroup):
            if asyncio.get_running_loop().time() > deadline:
                _go_on(identity.pid, cgroup)
                raise RuntimeFailed("the process could not be stopped")
            await asyncio.sleep(0.001)
        self._living(ref)

    async def thaw(self, ref: str) -> None:
        _go_on(self._living(ref).pid, self._cgroups.of(ref))

    async def execute(self, ref: str, plan: LaunchPlan, argv: Sequence[str], seconds: float) -> ExitStatus:
        """It is in the instance's cgroup and carries its mark: it ends with it, whatever ends this host."""
        first = self._living(ref)
        command = await self._command(replace(plan, spec=with_argv(plan.spec, argv)))
        ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()

        def record(handle: Handle) -> None:
            self.watch(handle.ref, lambda status: None if ended.done() else ended.set_result(status))

        handle, _ = await self._start(command, plan, self._cgroups.of(ref), record, first.pid)
        self._cgroups.forget(handle.ref)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(ended)
        except TimeoutError:
            raise RuntimeFailed(f"it had not ended after {seconds:g} s") from None
        finally:
            if not ended.done():
                _signal_group(procfs.parse_identity(handle.ref).pid, signal.SIGKILL)

    def _living(self, ref: str) -> procfs.Identity:
        identity = procfs.parse_identity(ref)
        if self.condition(ref) is Condition.GONE:
            raise RuntimeFailed("the process has ended")
        return identity

    # -- end -------------------------------------------------------------------------------------------

    async def stop(self, instance_id: str, ref: str, grace_seconds: float) -> None:
        identity = procfs.parse_identity(ref)
        cgroup = self._cgroups.left_of(instance_id, ref)
        if self.condition(ref) is not Condition.GONE:
            # The signal first: a frozen process meets it before anything else when it goes on.
            _signal_group(identity.pid, signal.SIGTERM if grace_seconds > 0 else signal.SIGKILL)
            _go_on(identity.pid, cgroup)

        def members() -> list[int]:
            return _members(identity, instance_id, cgroup)

        if not await _until(lambda: not members(), grace_seconds):
            for _ in range(3):  # a process may be born while its parent is being killed
                _set_frozen(cgroup, False)  # a v1 freezer holds back even SIGKILL
                if cgroup is not None:
                    cgroup.kill()
                for pid in members():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                if await _until(lambda: not members(), _KILL_WAIT_SECONDS):
                    break
        _reap(identity.pid)
        self._cgroups.forget(ref)
        if cgroup is not None:
            left = cgroup
            if not await _until(lambda: self._cgroups.remove(left), _REMOVE_WAIT_SECONDS):
                log.warning(
                    "a cgroup could not be removed", cgroup=str(cgroup.folders[0])
                )  # `collect` tries again


class _Pipe:
    """The writing end of a new process's standard input."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, text: bytes) -> None:
        """All of it at once: the pipe is made as large as the text, so that the write does not wait."""
        if len(text) > _PIPE_BYTES:
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, len(text))
        while text:
            text = text[os.write(self._descriptor, text) :]

    def close(self) -> None:
        os.close(self._descriptor)


def _born(log: int) -> tuple[int, int]:
    """A process that waits for its plan: its id and the end of the pipe to write the plan to."""
    reading, writing = os.pipe()
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", launch.__file__],
            {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return pid, writing


def _plan_text(command: Command, work_dir: Path, beside: int | None = None) -> bytes:
    """beside: a process whose mounts it sees, instead of mounts of its own."""
    plan = {
        "join": beside,
        "argv": command.argv,
        "env": dict(command.env),
        "cwd": str(work_dir),
        "mounts": [{"source": real, "target": seen} for real, seen in command.mounts if beside is None],
    }
    return json.dumps(plan).encode() + b"\n"


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # ended meanwhile: the watcher tells
        os.killpg(pid, number)


def _reap(pid: int) -> ExitStatus:
    """How a process ended, if it was our child and nobody asked before."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return ExitStatus()
    if found is None:
        return ExitStatus()
    if found.si_code == os.CLD_EXITED:
        return ExitStatus(code=found.si_status)
    return ExitStatus(signal=signal.Signals(found.si_status).name)


def _set_frozen(cgroup: Cgroup | None, is_frozen: bool) -> bool:
    """Whether the cgroup took it. One that does not (removed, rights lost) leaves it to signals."""
    if cgroup is None:
        return False
    try:
        (cgroup.freeze if is_frozen else cgroup.thaw)()
        return True
    except OSError as error:
        log.info("a cgroup was not told to freeze or thaw", cgroup=str(cgroup.folders[0]), reason=str(error))
        return False


def _is_still(identity: procfs.Identity, cgroup: Cgroup | None) -> bool:
    """Whether it is frozen by now."""
    stat = procfs.find(identity)
    return (cgroup is not None and cgroup.is_frozen) or (stat is not None and stat.is_stopped)


def _go_on(pid: int, cgroup: Cgroup | None) -> None:
    """Both ways, whichever has stopped it: the host before may have known the other only."""
    _set_frozen(cgroup, False)
    _signal_group(pid, signal.SIGCONT)


def _members(identity: procfs.Identity, instance_id: str, cgroup: Cgroup | None) -> list[int]:
    """The living processes of an instance."""
    pids = cgroup.pids() if cgroup is not None else None
    if pids is None:
        return [stat.pid for stat in procfs.members(identity, instance_id)]
    leader = procfs.find(identity)  # which is not in it if it could not be put there
    found = [stat for pid in pids if (stat := procfs.read_stat(pid)) is not None]
    return [stat.pid for stat in (*found, *((leader,) if leader else ())) if stat.is_alive]


async def _until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it came to be so in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = 0.005
    while not is_so():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
        pause = min(pause * 1.5, 0.1)
    return True


def try_mount() -> str:
    """Mount a folder where none is, read-only, in a process of its own. Empty if it works, else why not."""
    with tempfile.TemporaryDirectory(prefix="tickover-try-") as folder:
        source, target = Path(folder, "source"), Path(folder, "not", "there")
        source.mkdir()
        (source / "probe").write_text("here")
        plan = Command(
            (sys.executable, "-I", "-S", "-c", _PROBE, str(target)),
            {"LANG": "C.UTF-8"},
            mounts=((str(source), str(target)),),
        )
        said = Path(folder, "said")
        written = open_log(said)
        try:
            pid, pipe = _born(written)
        except OSError as error:
            return f"no process could be started: {error.strerror}"
        finally:
            os.close(written)
        with contextlib.closing(_Pipe(pipe)) as word, contextlib.suppress(BrokenPipeError):
            word.send(_plan_text(plan, Path(folder)))
        _, status = os.waitpid(pid, 0)
        if target.exists() or Path(folder, "not").exists():
            return "a trial mount left a folder behind"
        if status != 0:
            return (
                said.read_text(errors="replace").strip().removeprefix("tickover: ") or "a trial mount failed"
            )
        return ""
