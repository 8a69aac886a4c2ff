"""What really happened with model servers on a real card, each once more as a test.

Compile caches that miss when flags change, a log line that counts the checkpointed time, and weights that
cannot show corruption are no matter of these modules: they are of the function's flags and of measuring.
"""

import asyncio

import pytest

from tests.support.host_gpu import H100, a_ledger, a_need, good, placed
from tickover.host.gpu.checkpoint import CheckpointFailed
from tickover.host.gpu.inventory import calibrate
from tickover.host.gpu.ledger import Denied, Tier, ending, held, observed
from tickover.host.gpu.nvml import GIB, MIB, read
from tickover.host.gpu.sequence import AsleepProof, Rung, choose, come_back, go_deep
from tickover.host.gpu.simulated import (
    FLOOR_BYTES,
    KILL_LAG_SECONDS,
    OutOfMemory,
    SimulatedCards,
    SimulatedCheckpointer,
    SimulatedDriver,
)
from tickover.host.gpu.swaps import (
    Checkpoint,
    Confirm,
    Start,
    Wait,
    Wake,
    begins,
    broken,
    is_confirmed,
    plan_wake,
)

A = H100.uuid
PROOF = AsleepProof("i-a", 0, "asked")


class Machine:
    """One card, a driver, and a clock that stands still until it is moved."""

    def __init__(self):
        self.seconds = 0.0
        self.cards = SimulatedCards((H100,), lambda: self.seconds)
        self.driver = SimulatedDriver(cards=self.cards, is_blocking=False)
        self.checkpointer = SimulatedCheckpointer(self.driver)

    def process(self, pid, used):
        self.cards.put(A, pid, used)
        self.driver.states[pid] = "running"

    def down(self, pids, proof=PROOF, stopped=lambda pid: False):
        return asyncio.run(go_deep(self.checkpointer, pids, "i-a", proof, 0, stopped))

    def up(self, pids, stopped=lambda pid: False):
        return asyncio.run(come_back(self.checkpointer, pids, "i-a", stopped))


def test_pitfall_1_an_engine_that_is_not_asleep_is_never_checkpointed():
    machine = Machine()
    machine.process(7, 26 * GIB)
    outcome = machine.down((7,), proof=None)
    assert outcome.is_refused and "put it to sleep first" in outcome.reason
    assert machine.driver.calls == []
    awake = placed(a_ledger(), a_need(), tiers={"i-a": Tier.AWAKE})
    assert isinstance(begins(awake, Checkpoint("i-a"), 0), Denied)


def test_pitfall_2_no_wake_on_a_full_card_and_a_failed_wake_is_a_dead_instance():
    ledger = placed(a_ledger(), a_need("i-a", 60 * GIB), a_need("i-b", 60 * GIB), tiers={"i-a": Tier.AWAKE})
    assert isinstance(begins(ledger, Wake("i-b"), 0), Denied)
    plan = plan_wake(ledger, "i-b", 0)
    wake = next(step for step in plan.steps if isinstance(step.action, Wake | Start))
    assert any(isinstance(plan.steps[number].action, Confirm) for number in wake.after)
    assert broken(plan, Wake("i-b"), "HTTP 500").replace_ids == ("i-b",)


def test_pitfall_2_a_restore_on_a_full_card_means_a_new_instance():
    machine = Machine()
    machine.process(7, 2 * GIB)
    assert machine.down((7,)).rung is Rung.DEEP
    machine.process(8, 78 * GIB)
    outcome = machine.up((7,))
    assert outcome.rung is Rung.REPLACE
    assert "has to be replaced: restore of process 7 failed: process 7 wants" in outcome.reason


def test_pitfall_3_a_stopped_process_is_thawed_before_the_driver_is_called():
    machine = Machine()
    machine.process(7, 2 * GIB)
    outcome = machine.down((7,), stopped=lambda pid: True)
    assert (outcome.rung, outcome.is_refused) == (Rung.ASLEEP, True)
    outcome = machine.up((7,), stopped=lambda pid: True)
    assert (outcome.rung, outcome.is_refused) == (Rung.DEEP, True)
    assert "thaw the instance first" in outcome.reason
    assert machine.driver.calls == []


def test_pitfall_4_a_checkpointed_process_is_not_in_the_list_and_is_known_by_its_pid():
    machine = Machine()
    machine.process(7, 2 * GIB)
    pids = choose(machine.cards.processes(A), {6, 7})
    assert machine.down(pids).pids == (7,)
    assert machine.cards.processes(A) == ()
    assert choose(machine.cards.processes(A), {6, 7}) == ()  # why the caller keeps what `go_deep` says
    assert machine.up(pids).rung is Rung.ASLEEP
    assert machine.cards.held(7) == {A: 2 * GIB}


def test_pitfall_5_the_floor_of_an_empty_card_is_not_zero():
    machine = Machine()
    reading = read(machine.cards, H100)
    assert calibrate(reading).used_bytes == reading.used_bytes == 483 * MIB
    ledger = placed(a_ledger(), a_need())
    assert observed(ledger, A, reading.used_bytes, 0).holdings == ledger.holdings


def test_pitfall_6_the_memory_of_a_killed_process_comes_back_later():
    machine = Machine()
    machine.process(7, 60 * GIB)
    ledger = placed(a_ledger(), a_need("i-a", 60 * GIB), a_need("i-b", 60 * GIB), tiers={"i-a": Tier.AWAKE})
    machine.cards.kill(7)
    ledger = ending(ledger, "i-a")
    machine.seconds = KILL_LAG_SECONDS - 0.1
    assert machine.cards.processes(A) == () and not is_confirmed(
        Confirm(A, 60 * GIB), read(machine.cards, H100).free_bytes
    )
    with pytest.raises(OutOfMemory):
        machine.cards.put(A, 8, 60 * GIB)
    ledger = observed(ledger, A, machine.cards.used_bytes(A), 0)
    assert isinstance(plan_wake(ledger, "i-b", 0), Wait)
    machine.seconds = KILL_LAG_SECONDS
    assert machine.cards.used_bytes(A) == FLOOR_BYTES
    ledger = observed(ledger, A, machine.cards.used_bytes(A), 0)
    assert held(ledger, A) == 0
    assert good(begins(ledger, plan_wake(ledger, "i-b", 0).steps[0].action, 0))


def test_a_call_for_a_process_that_is_gone_fails_by_name():
    machine = Machine()
    with pytest.raises(CheckpointFailed, match="lock of process 5 failed: there is no process 5"):
        asyncio.run(machine.checkpointer.lock(5, 1.0))
