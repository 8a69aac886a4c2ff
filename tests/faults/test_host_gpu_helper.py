"""The watchdog of the checkpoint calls, with real helper processes that run a driver which misbehaves."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tickover.host.gpu.checkpoint import CheckpointFailed, CudaState, HelperCheckpointer, Limits
from tickover.host.gpu.sequence import AsleepProof, Rung, go_deep

QUICK = Limits(start_seconds=20.0, quick_seconds=0.3, move_seconds=0.3)
PROOF = AsleepProof("i-a", 0, "asked")
HANGS = "driver.faults[('state', 11)] = Fault(hang_seconds=60)"


def command(setup: str) -> tuple[str, ...]:
    """A helper whose driver has processes 11 and 12, after some lines of set-up."""
    text = (
        "import os, sys, time, signal\n"
        "from tickover.host.gpu.checkpoint_helper import main\n"
        "from tickover.host.gpu.driver import DriverError\n"
        "from tickover.host.gpu.simulated import Fault, SimulatedDriver\n"
        "driver = SimulatedDriver(states={11: 'running', 12: 'running'})\n"
        f"{setup}\n"
        "sys.exit(main(lambda: driver))\n"
    )
    return (sys.executable, "-c", text)


@asynccontextmanager
async def helpers(setup="", limits=QUICK, kept=2):
    checkpointer = HelperCheckpointer(limits, command(setup), kept)
    try:
        yield checkpointer
    finally:
        await checkpointer.close()


def children() -> set[int]:
    """The living children of this process."""
    found = set[int]()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found |= {int(pid) for pid in file.read().split()}
    return found


def test_a_helper_answers_and_ends_with_its_owner():
    async def scenario():
        before = children()
        async with helpers() as checkpointer:
            await checkpointer.warm_up()
            assert await checkpointer.state(11) is CudaState.RUNNING
            await checkpointer.lock(11, 0.1)
            await checkpointer.checkpoint(11)
            assert await checkpointer.state(11) is CudaState.CHECKPOINTED
            await checkpointer.restore(11)
            await checkpointer.unlock(11)
            assert await checkpointer.state(99) is CudaState.NONE
            assert len(children() - before) == 1
        assert children() - before == set()

    asyncio.run(scenario())


def test_an_error_of_the_driver_keeps_its_name_and_the_helper():
    async def scenario():
        async with helpers() as checkpointer:
            with pytest.raises(CheckpointFailed) as failed:
                await checkpointer.restore(11)
            assert failed.value.code == "CUDA_ERROR_ILLEGAL_STATE"
            assert (
                str(failed.value) == "restore of process 11 failed: process 11 is running, not checkpointed"
            )
            before = children()
            assert await checkpointer.state(11) is CudaState.RUNNING
            assert children() == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "setup",
    [
        HANGS,
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{HANGS}",
    ],
    ids=["hangs", "hangs and ignores SIGTERM"],
)
def test_a_call_that_hangs_ends_its_helper_and_is_a_failure(setup):
    async def scenario():
        before = children()
        async with helpers(setup) as checkpointer:
            await checkpointer.warm_up()
            began = time.monotonic()
            with pytest.raises(CheckpointFailed) as failed:
                await checkpointer.state(11)
            assert time.monotonic() - began < 5.0
            assert failed.value.is_hang
            assert "did not return within 0.3 s; its helper was ended" in str(failed.value)
            assert children() - before == set()

    asyncio.run(scenario())


def test_the_loop_goes_on_while_a_call_hangs():
    async def scenario():
        async with helpers(HANGS) as checkpointer:
            await checkpointer.warm_up()
            call = asyncio.create_task(checkpointer.state(11))
            turns = 0
            while not call.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert turns >= 10
            with pytest.raises(CheckpointFailed):
                await call

    asyncio.run(scenario())


def test_a_hang_does_not_touch_the_call_beside_it():
    async def scenario():
        setup = "driver.faults[('lock', 11)] = Fault(hang_seconds=60)"
        async with helpers(setup) as checkpointer:
            found = await asyncio.gather(
                checkpointer.lock(11, 0.1), checkpointer.lock(12, 0.1), return_exceptions=True
            )
            assert isinstance(found[0], CheckpointFailed) and found[1] is None

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_cut_a_call_in_two(tmp_path):
    async def scenario():
        before, mark = children(), tmp_path / "done"
        work = f"(time.sleep(0.2), open({str(mark)!r}, 'w').close())"
        setup = f"SimulatedDriver.checkpoint = lambda self, pid: {work}"
        async with helpers(setup, replace(QUICK, move_seconds=5.0)) as checkpointer:
            await checkpointer.warm_up()
            call = asyncio.create_task(checkpointer.checkpoint(11))
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not mark.exists() and len(children() - before) == 1
        assert mark.exists() and children() - before == set()

    asyncio.run(scenario())


def test_a_hang_on_the_way_down_is_reported_within_its_bound():
    async def scenario():
        setup = "driver.faults[('checkpoint', 11)] = Fault(hang_seconds=60)"
        async with helpers(setup) as checkpointer:
            await checkpointer.warm_up()
            outcome = await go_deep(checkpointer, (11,), "i-a", PROOF, 0, lambda pid: False)
            # The next helper is a new process with a new simulated driver, where 11 runs: nothing to undo.
            assert (outcome.rung, outcome.undone) == (Rung.ASLEEP, ())
            assert "checkpoint of process 11 failed: the driver did not return" in outcome.reason

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("setup", "code", "said"),
    [
        ("sys.exit(3)", "no-helper", "the helper process ended at its start"),
        (
            "SimulatedDriver.state = lambda self, pid: os._exit(9)",
            "no-helper",
            "ended or broke off: no whole answer came",
        ),
        ("SimulatedDriver.state = lambda self, pid: 'odd'", "unknown-state", "odd"),
        ("time.sleep(60)", "no-helper", "was not ready within 0.4 s"),
    ],
    ids=["ends at start", "ends in a call", "says nonsense", "never ready"],
)
def test_a_helper_that_breaks_is_a_failure_and_leaves_nothing(setup, code, said):
    async def scenario():
        before = children()
        limits = replace(QUICK, start_seconds=0.4) if "60" in setup else QUICK
        async with helpers(setup, limits) as checkpointer:
            with pytest.raises(CheckpointFailed) as failed:
                await checkpointer.state(11)
        assert failed.value.code == code
        assert said in str(failed.value)
        assert children() - before == set()

    asyncio.run(scenario())


def test_what_the_driver_prints_does_not_disturb_the_answers():
    async def scenario():
        setup = "SimulatedDriver.state = lambda self, pid: os.write(1, b'noise\\n') and 'locked'"
        async with helpers(setup) as checkpointer:
            assert await checkpointer.state(11) is CudaState.LOCKED

    asyncio.run(scenario())


def test_no_more_helpers_are_kept_than_said():
    async def scenario():
        before = children()
        async with helpers(kept=1) as checkpointer:
            await asyncio.gather(*(checkpointer.state(11) for _ in range(3)))
            assert len(children() - before) == 1

    asyncio.run(scenario())


def test_a_helper_ends_itself_when_its_owner_is_gone():
    """The alarm: the second watchdog, for a host that was killed while the driver hung."""

    async def scenario():
        process = await asyncio.create_subprocess_exec(
            *command(HANGS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await process.stdout.readline() == b'{"ready": true}\n'
        process.stdin.write(b'{"verb": "state", "pid": 11, "limit": 0.1}\n')
        process.stdin.close()
        async with asyncio.timeout(15):
            assert await process.wait() == -14

    asyncio.run(scenario())


def test_on_a_machine_without_the_driver_it_is_said():
    async def scenario():
        setup = (
            "from tickover.host.gpu.driver import Libcuda\nsys.exit(main(lambda: Libcuda('libnone.so.1')))"
        )
        async with helpers(setup) as checkpointer:
            with pytest.raises(CheckpointFailed) as failed:
                await checkpointer.warm_up()
            assert failed.value.code == "no-driver"
            assert str(failed.value).startswith(
                "CUDA checkpoints cannot be made here: the NVIDIA driver is not installed (libnone.so.1"
            )

    asyncio.run(scenario())


def test_a_helper_does_not_inherit_the_hosts_secrets(monkeypatch):
    async def scenario():
        setup = (
            "SimulatedDriver.state = lambda self, pid: 'failed' if 'HOST_KEY' in os.environ else 'running'"
        )
        async with helpers(setup) as checkpointer:
            assert await checkpointer.state(11) is CudaState.RUNNING

    monkeypatch.setenv("HOST_KEY", "secret")
    asyncio.run(scenario())


def test_a_checkpoint_that_outlasts_its_limit_is_undone_once_it_has_ended(tmp_path):
    """The driver goes on when its caller is gone, and `state` waits for it, as it does on a real card."""

    async def scenario():
        mark = tmp_path / "state"
        mark.write_text("running")
        setup = (
            "class Shared(SimulatedDriver):\n"
            f"    path = {str(mark)!r}\n"
            "    def _turn(self, pid, former, new): open(self.path, 'w').write(new)\n"
            "    def _expect(self, pid, wanted): pass\n"
            "    def state(self, pid): time.sleep(0.3); return open(self.path).read()\n"
            "    def checkpoint(self, pid):\n"
            "        open(self.path, 'w').write('checkpointed')\n"
            "        time.sleep(60)\n"
            "    def restore(self, pid): open(self.path, 'w').write('locked')\n"
            "driver = Shared()"
        )
        limits = replace(QUICK, quick_seconds=0.2, move_seconds=0.9)
        async with helpers(setup, limits) as checkpointer:
            await checkpointer.warm_up()
            outcome = await go_deep(checkpointer, (11,), "i-a", PROOF, 0, lambda pid: False)
            assert (outcome.rung, outcome.undone) == (Rung.ASLEEP, ("restore 11", "unlock 11"))
            assert mark.read_text() == "running"

    asyncio.run(scenario())
