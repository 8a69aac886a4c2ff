"""All CUDA processes of an instance go down, or none; and come back, or the instance is replaced."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cgroups import FakeKernel
from tests.support.host_gpu import SECOND
from tickover.host.gpu.nvml import CardProcess
from tickover.host.gpu.sequence import AsleepProof, Rung, choose, come_back, go_deep, is_stopped
from tickover.host.gpu.simulated import Fault, SimulatedCheckpointer, SimulatedDriver

PIDS = (11, 12)
PROOF = AsleepProof("i-a", 0, "GET /is_sleeping answered true, 0 in flight")


def a_driver(state="running", **faults):
    """faults: lock_11=Fault(...)."""
    found = {(verb, int(pid)): f for name, f in faults.items() for verb, pid in [name.split("_")]}
    return SimulatedDriver(states=dict.fromkeys(PIDS, state), faults=found, is_blocking=False)


def down(driver, *, proof=PROOF, now=SECOND, pids=PIDS, stopped=lambda pid: False):
    return asyncio.run(go_deep(SimulatedCheckpointer(driver), pids, "i-a", proof, now, stopped))


def up(driver, stopped=lambda pid: False):
    return asyncio.run(come_back(SimulatedCheckpointer(driver), PIDS, "i-a", stopped))


def calls(driver):
    return [verb for verb, _ in driver.calls]


def test_those_on_a_card_and_of_the_instance_are_chosen():
    listed = [CardProcess(12, 5), CardProcess(11, None), CardProcess(13, 0), CardProcess(99, 5)]
    assert choose(listed, {10, 11, 12, 13}) == (11, 12)


def test_all_are_locked_before_any_is_checkpointed_and_restored_before_any_is_unlocked():
    driver = a_driver()
    assert down(driver).rung is Rung.DEEP
    assert calls(driver) == ["lock", "lock", "checkpoint", "checkpoint"]
    driver.calls.clear()
    outcome = up(driver)
    assert (outcome.rung, outcome.is_done) == (Rung.ASLEEP, True)
    assert calls(driver) == ["state", "state", "restore", "restore", "unlock", "unlock"]
    assert set(driver.states.values()) == {"running"}


@pytest.mark.parametrize(
    ("faults", "undone"),
    [
        ({"lock_12": Fault("CUDA_ERROR_NOT_READY")}, ("unlock 11",)),
        ({"lock_12": Fault(hang_seconds=1)}, ("unlock 11",)),
        (
            {"checkpoint_12": Fault("CUDA_ERROR_NOT_SUPPORTED")},
            ("restore 11", "unlock 11", "unlock 12"),
        ),
        (
            {
                "checkpoint_11": Fault("CUDA_ERROR_OUT_OF_MEMORY"),
                "checkpoint_12": Fault("CUDA_ERROR_UNKNOWN"),
            },
            ("unlock 11", "unlock 12"),
        ),
    ],
    ids=["a lock is refused", "a lock hangs", "a checkpoint is refused", "all checkpoints fail"],
)
def test_a_failure_on_the_way_down_is_undone_in_reverse(faults, undone):
    driver = a_driver(**faults)
    outcome = down(driver)
    assert (outcome.rung, outcome.undone, outcome.is_refused) == (Rung.ASLEEP, undone, False)
    assert outcome.reason and not outcome.is_done
    assert set(driver.states.values()) == {"running"}


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"checkpoint_12": Fault("CUDA_ERROR_UNKNOWN", is_half_done=True)}, "process 12 is no more usable"),
        (
            {"checkpoint_12": Fault("CUDA_ERROR_UNKNOWN"), "restore_11": Fault("CUDA_ERROR_OUT_OF_MEMORY")},
            "undoing it failed too: restore of process 11 failed",
        ),
        (
            {"lock_12": Fault("CUDA_ERROR_UNKNOWN"), "state_11": Fault(hang_seconds=9)},
            "undoing it failed too: state of process 11 failed: the driver did not return",
        ),
    ],
    ids=["half done", "cannot be undone", "hangs again"],
)
def test_what_cannot_be_undone_has_to_be_replaced(faults, said):
    outcome = down(a_driver(**faults))
    assert outcome.rung is Rung.REPLACE
    assert said in outcome.reason


@pytest.mark.parametrize(
    "faults",
    [
        {"restore_12": Fault("CUDA_ERROR_OUT_OF_MEMORY")},
        {"restore_11": Fault(hang_seconds=9)},
        {"restore_11": Fault("CUDA_ERROR_OPERATING_SYSTEM", is_half_done=True)},
        {"unlock_12": Fault("CUDA_ERROR_UNKNOWN")},
    ],
    ids=["no room", "hangs", "half done", "unlock fails"],
)
def test_a_failed_restore_says_that_the_instance_has_to_be_replaced(faults):
    outcome = up(a_driver("checkpointed", **faults))
    assert outcome.rung is Rung.REPLACE
    assert outcome.reason.startswith("instance i-a has to be replaced: ")


def test_a_process_that_died_while_it_was_checkpointed_is_noticed():
    driver = a_driver("checkpointed")
    del driver.states[12]
    outcome = up(driver)
    assert (outcome.rung, outcome.reason) == (
        Rung.REPLACE,
        "instance i-a has to be replaced: process 12 is none",
    )


def test_what_a_killed_host_left_half_way_is_brought_back():
    driver = a_driver("locked")
    driver.states[11] = "checkpointed"
    assert up(driver).rung is Rung.ASLEEP
    assert set(driver.states.values()) == {"running"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pids": ()}, "there is nothing to checkpoint"),
        ({"stopped": lambda pid: None}, "process 11 of instance i-a is gone"),
        ({"now": 6 * SECOND}, "was seen asleep 6.0 s ago"),
        ({"now": -1}, "which proves nothing now"),
        ({"proof": AsleepProof("i-b", 0, "")}, "instance i-a was not shown to be asleep"),
    ],
    ids=["no process", "gone", "an old proof", "a proof of later", "another's proof"],
)
def test_nothing_is_called_where_it_cannot_be_right(given, said):
    driver = a_driver()
    outcome = down(driver, **given)
    assert (outcome.rung, outcome.is_refused) == (Rung.ASLEEP, True)
    assert said in outcome.reason
    assert driver.calls == []


def test_a_stopped_process_is_seen_as_such():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_stopped(child.pid) is False
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert is_stopped(child.pid) is True
        child.kill()
    assert is_stopped(child.pid) is None


@pytest.mark.parametrize("kinds", [{"v2": ()}, {"v1": ("freezer",)}, {"v1": ("cpu",), "v2": ()}])
def test_a_frozen_cgroup_is_seen_as_such(tmp_path: Path, kinds):
    kernel = FakeKernel(tmp_path, **kinds, own="/docker/c1")
    kernel.put(os.getpid(), "/docker/c1")
    assert is_stopped(os.getpid(), tmp_path) is False
    if "freezer" in kinds.get("v1", ()):
        (kernel.top / "freezer/docker/c1/freezer.state").write_text("FROZEN\n")
    else:
        (kernel.top / "unified/docker/c1/cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert is_stopped(os.getpid(), tmp_path) is True
