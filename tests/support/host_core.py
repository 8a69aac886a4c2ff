"""Fakes and helpers for tests of the host's core: a settable clock, a declared side, a scripted runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tickover.fc.function import Function
from tickover.host.clock import SECOND_NS
from tickover.host.instance import Instance, PoolKey
from tickover.host.model import DesiredPool, InstanceState
from tickover.host.pool import PoolSettings, ReservedPool
from tickover.host.probe import ask
from tickover.host.runtimes import procfs
from tickover.host.runtimes.base import Condition, ExitStatus, Handle, LaunchPlan, RuntimeFailed

TINY = str(Path(__file__).with_name("host_tiny_server.py"))
FAST = PoolSettings(
    linger_seconds=0.15,
    start_deadline_seconds=20.0,
    stop_grace_seconds=3.0,
    backoff_first_seconds=0.2,
    ledger_delay_seconds=0.01,
    heartbeat_seconds=0.2,
)


def function(
    *arguments: str,
    concurrency: int = 2,
    env: dict[str, str] | None = None,
    mounts: tuple[tuple[str, str], ...] = (),
    health: str | None = None,
    image: str = "process://local",
    timeout: int = 60,
    initializer: dict[str, object] | None = None,
    pre_stop: dict[str, object] | None = None,
) -> Function:
    """A function that runs the tiny server."""
    wire: dict[str, object] = {
        "functionName": "chat-dev",
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 1,
        "memorySize": 1024,
        "diskSize": 512,
        "timeout": timeout,
        "instanceConcurrency": concurrency,
        "environmentVariables": env or {},
        "customContainerConfig": {
            "image": image,
            "entrypoint": [sys.executable, TINY],
            "command": ["--port", "${port}", *arguments],
            **({"healthCheckConfig": {"httpGetUrl": health}} if health else {}),
        },
    }
    hooks = {"initializer": initializer, "preStop": pre_stop}
    wire["instanceLifecycleConfig"] = {name: hook for name, hook in hooks.items() if hook}
    if mounts:
        points = [{"serverAddr": server, "mountDir": folder} for server, folder in mounts]
        wire["nasConfig"] = {"mountPoints": points}
    return Function.model_validate(wire)


def pool_of(
    spec: Function | None = None,
    *,
    target: int = 1,
    revision: str = "r1",
    name: str = "chat-dev",
    idle: bool = True,
    version: str = "1",
    expected: tuple[int, ...] = (),
) -> DesiredPool:
    return DesiredPool(name, "live", version, revision, spec or function(), target, idle, expected)


class Declared:
    """A registry of given pools; `set` replaces them."""

    def __init__(self, *pools: DesiredPool) -> None:
        self.pools = pools
        self.schedule: list[tuple[int, int]] = []  # (from wall ns, target of all pools)

    def desired(self, now_ns: int) -> tuple[DesiredPool, ...]:
        due = [target for start, target in self.schedule if start <= now_ns]
        return tuple(replace(pool, target=due[-1]) if due else pool for pool in self.pools)

    def next_change_ns(self, now_ns: int) -> int | None:
        return min((start for start, _ in self.schedule if start > now_ns), default=None)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, wall_ns: int = 1_700_000_000 * SECOND_NS) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = 1000 * SECOND_NS
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def wall_ns(self) -> int:
        return self._wall_ns

    def mono_ns(self) -> int:
        return self._mono_ns

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._mono_ns + round(seconds * SECOND_NS), woken))
        await woken

    def tick(self, ns: int) -> None:
        """Only the time, for code that does not sleep."""
        self._mono_ns += ns
        self._wall_ns += ns

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its moment."""
        end = self._mono_ns + round(seconds * SECOND_NS)
        while True:
            await settle()
            due = sorted((s for s in self._sleepers if not s[1].done()), key=lambda s: s[0])
            self._sleepers = due
            if not due or due[0][0] > end:
                break
            self.tick(max(0, due[0][0] - self._mono_ns))
            due[0][1].set_result(None)
        self.tick(max(0, end - self._mono_ns))
        await settle()


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(30):
        await asyncio.sleep(0)


@dataclass
class FakeProcess:
    plan: LaunchPlan
    condition: Condition = Condition.RUNNING
    on_exit: Callable[[ExitStatus], None] | None = None


@dataclass
class FakeRuntime:
    """A runtime without processes. What it is asked is in `calls`."""

    name: str = "process"
    host: str = "127.0.0.1"
    processes: dict[str, FakeProcess] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    spawn_error: str = ""
    freeze_error: str = ""
    execute_code: int = 0

    is_forwarded: bool = False

    async def open(self, refs: Collection[str]) -> None:
        """Nothing was left by anybody."""

    async def close(self) -> None:
        """Nothing is open."""

    async def collect(self, living: Collection[str]) -> tuple[str, ...]:
        return ()

    def accepts(self, image: str) -> bool:
        return image.startswith("process://")

    async def spawn(self, plan: LaunchPlan, record: Callable[[Handle], None]) -> Handle:
        if self.spawn_error:
            raise RuntimeFailed(self.spawn_error)
        self.calls.append("spawn")
        self.processes[plan.instance_id] = FakeProcess(plan)
        handle = Handle(plan.instance_id, 4_000_000)
        record(handle)
        return handle

    def members(self, instance_id: str, ref: str) -> Collection[int]:
        return ()

    def condition(self, ref: str) -> Condition:
        return self.processes[ref].condition if ref in self.processes else Condition.GONE

    def watch(self, ref: str, on_exit: Callable[[ExitStatus], None]) -> Callable[[], None]:
        self.processes[ref].on_exit = on_exit

        def unwatch() -> None:
            self.processes[ref].on_exit = None

        return unwatch

    def crash(self, ref: str, code: int = 1) -> None:
        process = self.processes[ref]
        process.condition = Condition.GONE
        if process.on_exit is not None:
            process.on_exit(ExitStatus(code=code))

    async def freeze(self, ref: str) -> None:
        self.calls.append("freeze")
        if self.freeze_error:
            raise RuntimeFailed(self.freeze_error)
        self.processes[ref].condition = Condition.FROZEN

    async def thaw(self, ref: str) -> None:
        self.calls.append("thaw")
        if self.processes[ref].condition is Condition.GONE:
            raise RuntimeFailed("the process has ended")
        self.processes[ref].condition = Condition.RUNNING

    async def execute(self, ref: str, plan: LaunchPlan, argv: Sequence[str], seconds: float) -> ExitStatus:
        self.calls.append(f"execute {' '.join(argv)}")
        return ExitStatus(code=self.execute_code)

    async def stop(self, instance_id: str, ref: str, grace_seconds: float) -> None:
        self.calls.append("kill" if grace_seconds == 0 else "stop")
        self.processes[ref].condition = Condition.GONE

    def describe(self) -> str:
        return "fake"


def an_instance(
    state: InstanceState,
    *,
    name: str = "i-1",
    revision: str = "r1",
    in_flight: int = 0,
    created: int = 0,
    empty: int = 0,
    concurrency: int = 2,
    idle: bool = True,
) -> Instance:
    return Instance(
        instance_id=name,
        key=PoolKey("chat-dev", "live"),
        version_id="1",
        revision=revision,
        spec=function(concurrency=concurrency),
        idle_enabled=idle,
        created_mono_ns=created,
        created_wall_ns=created,
        state=state,
        in_flight=in_flight,
        empty_mono_ns=empty,
        runtime="process",
    )


async def until(is_true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for real processes; says what did not come."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come in {seconds} s")
        await asyncio.sleep(0.005)


def states(pool: ReservedPool) -> list[str]:
    return [view.state.value for view in pool.instances()]


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    declared: Declared,
    *,
    settings: PoolSettings = FAST,
    nas: dict[str, Path] | None = None,
    keep: bool = False,
) -> AsyncIterator[ReservedPool]:
    """A started pool on real processes; everything is ended after it unless keep."""
    pool = ReservedPool(declared, folder / "host.db", folder, nas or {}, settings=settings)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop(keep_instances=keep)


async def get(port: int, path: str) -> object:
    answer = await ask("127.0.0.1", port, "GET", path, 10.0)
    return json.loads(answer.body)


def marked_processes(instance_id: str) -> list[int]:
    """Living processes that carry an instance's mark."""
    nobody = procfs.Identity(2**31 - 1, 0, _boot())
    return [stat.pid for stat in procfs.members(nobody, instance_id)]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def run(work: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(main())


@contextlib.contextmanager
def no_mounts_left() -> Iterator[None]:
    before = Path("/proc/self/mountinfo").read_text()
    yield
    assert Path("/proc/self/mountinfo").read_text() == before
