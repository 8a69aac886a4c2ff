"""The driver's checkpoint and restore of one instance: all of its CUDA processes or none.

Owns: the choice of processes, the order of the calls, and what a failure leaves. Promises: never checkpoints
an engine that was not just seen asleep, never calls the driver on a stopped process; a failed way down is
undone in reverse and leaves the instance asleep, or says that it has to be replaced; a failed way up always
says so. Never: sleeps or wakes an engine, reads a card, freezes a process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import structlog

from tickover.host.clock import SECOND_NS
from tickover.host.gpu.checkpoint import Checkpointer, CheckpointFailed, CudaState
from tickover.host.gpu.nvml import CardProcess
from tickover.host.runtimes import cgroup, procfs

log = structlog.get_logger(__name__)

LOCK_SECONDS: Final = 10.0
PROOF_AGE_NS: Final = 5 * SECOND_NS
_SAME_WORD: Final = "The instance is as it was; nothing was called."


@dataclass(frozen=True, slots=True)
class AsleepProof:
    """That an engine's scheduler is paused and no request is in flight, as seen at one moment.

    how: what was asked and answered, for the log. The caller has to hold new requests back from before
    `seen_ns` until the checkpoint has ended.
    """

    instance_id: str
    seen_ns: int
    how: str


class Rung(Enum):
    """What an instance is after a sequence."""

    ASLEEP = "asleep"
    DEEP = "deep"
    REPLACE = "replace"  # nothing can be said of it: end it and start another


@dataclass(frozen=True, slots=True)
class Outcome:
    """rung: where the instance is now. reason: empty on success. undone: the calls that took a part back."""

    rung: Rung
    pids: tuple[int, ...] = ()
    reason: str = ""
    is_refused: bool = False  # nothing was called
    undone: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return not self.reason


def choose(listed: Iterable[CardProcess], tree: Collection[int]) -> tuple[int, ...]:
    """The processes to checkpoint: those that NVML sees computing and that belong to the instance.

    The driver's own GetState is no guide: it calls an API server without a context "running" too. One that
    is listed with no memory has nothing to give, and the driver refuses to lock it.
    """
    return tuple(sorted({p.pid for p in listed if p.pid in tree and p.used_bytes != 0}))


def is_stopped(pid: int, root: Path = Path("/")) -> bool | None:
    """Whether a process is stopped by a signal or by its cgroup's freezer; None if it is gone.

    The driver hangs on one that is: its state and its lock both, until the process goes on.
    """
    stat = procfs.read_stat(pid)
    if stat is None or not stat.is_alive:
        return None
    return stat.is_stopped or cgroup.is_frozen(pid, cgroup.Files(root))


Stopped = Callable[[int], bool | None]


async def go_deep(
    checkpointer: Checkpointer,
    pids: tuple[int, ...],
    instance_id: str,
    proof: AsleepProof | None,
    now_ns: int,
    stopped: Stopped = is_stopped,
) -> Outcome:
    """Lock all, then checkpoint all. The instance has to be asleep, and to stay so."""
    if refusal := _why_not(pids, instance_id, proof, now_ns, stopped):
        return Outcome(Rung.ASLEEP, pids, refusal, is_refused=True)
    errors = await _all(pids, lambda pid: checkpointer.lock(pid, LOCK_SECONDS))
    if not errors:
        errors = await _all(pids, checkpointer.checkpoint)
    if not errors:
        return Outcome(Rung.DEEP, pids)
    return await _undo(checkpointer, pids, errors)


async def come_back(
    checkpointer: Checkpointer, pids: tuple[int, ...], instance_id: str, stopped: Stopped = is_stopped
) -> Outcome:
    """Restore all, then unlock all. Goes on from wherever a former host left each process."""
    for pid in pids:
        if stopped(pid):
            reason = (
                f"process {pid} of instance {instance_id} is stopped, and the driver would hang on it: "
                f"thaw the instance first. {_SAME_WORD}"
            )
            return Outcome(Rung.DEEP, pids, reason, is_refused=True)
    try:
        states = await _states(checkpointer, pids)
        _check(await _all(_in(states, CudaState.CHECKPOINTED), checkpointer.restore))
        down = (*_in(states, CudaState.CHECKPOINTED), *_in(states, CudaState.LOCKED))
        _check(await _all(down, checkpointer.unlock))
    except CheckpointFailed as error:
        return Outcome(Rung.REPLACE, pids, f"instance {instance_id} has to be replaced: {error}")
    if bad := [pid for pid, state in states.items() if state in (CudaState.FAILED, CudaState.NONE)]:
        reason = f"instance {instance_id} has to be replaced: process {bad[0]} is {states[bad[0]].value}"
        return Outcome(Rung.REPLACE, pids, reason)
    return Outcome(Rung.ASLEEP, pids)


def _why_not(
    pids: tuple[int, ...], instance_id: str, proof: AsleepProof | None, now_ns: int, stopped: Stopped
) -> str:
    """Why nothing may be called; empty if it may."""
    if proof is None or proof.instance_id != instance_id:
        return (
            f"instance {instance_id} was not shown to be asleep, and a request that reaches a checkpointed "
            f"engine that is not asleep kills it: put it to sleep first. {_SAME_WORD}"
        )
    if not 0 <= now_ns - proof.seen_ns <= PROOF_AGE_NS:
        age = (now_ns - proof.seen_ns) / SECOND_NS
        return (
            f"instance {instance_id} was seen asleep {age:.1f} s ago ({proof.how}), which proves nothing "
            f"now: ask again right before. {_SAME_WORD}"
        )
    if not pids:
        return f"instance {instance_id} has no process on a card: there is nothing to checkpoint"
    for pid in pids:
        found = stopped(pid)
        if found is None:
            return f"process {pid} of instance {instance_id} is gone. {_SAME_WORD}"
        if found:
            return (
                f"process {pid} of instance {instance_id} is stopped, and the driver would hang on it: "
                f"thaw the instance first, freeze it afterwards. {_SAME_WORD}"
            )
    return ""


async def _undo(checkpointer: Checkpointer, pids: tuple[int, ...], errors: list[CheckpointFailed]) -> Outcome:
    """Back to running, whatever the driver says each process is now: restore, then unlock.

    Asked and not remembered, because a call that was given up may have come to its end since.
    """
    reason, undone = "; ".join(str(error) for error in errors), list[str]()
    log.warning("a checkpoint is undone", pids=pids, reason=reason)
    try:
        states = await _states(checkpointer, pids)
        checkpointed, locked = _in(states, CudaState.CHECKPOINTED), _in(states, CudaState.LOCKED)
        _check(await _all(checkpointed, checkpointer.restore))
        undone += [f"restore {pid}" for pid in checkpointed]
        _check(await _all((*checkpointed, *locked), checkpointer.unlock))
        undone += [f"unlock {pid}" for pid in (*checkpointed, *locked)]
    except CheckpointFailed as error:
        reason = f"{reason}; undoing it failed too: {error}"
        return Outcome(Rung.REPLACE, pids, reason, undone=tuple(undone))
    if bad := [pid for pid, state in states.items() if state in (CudaState.FAILED, CudaState.NONE)]:
        return Outcome(
            Rung.REPLACE, pids, f"{reason}; process {bad[0]} is no more usable", undone=tuple(undone)
        )
    return Outcome(Rung.ASLEEP, pids, reason, undone=tuple(undone))


async def _all(pids: Iterable[int], call: Callable[[int], Awaitable[None]]) -> list[CheckpointFailed]:
    """The call on all of them side by side, each to its end; what failed."""

    async def one(pid: int) -> CheckpointFailed | None:
        try:
            await call(pid)
        except CheckpointFailed as error:
            return error
        return None

    found = await asyncio.gather(*(one(pid) for pid in pids))
    return [error for error in found if error is not None]


def _check(errors: list[CheckpointFailed]) -> None:
    if errors:
        raise errors[0]


async def _states(checkpointer: Checkpointer, pids: Iterable[int]) -> dict[int, CudaState]:
    pids = tuple(pids)
    return dict(zip(pids, await asyncio.gather(*(checkpointer.state(pid) for pid in pids)), strict=True))


def _in(states: dict[int, CudaState], state: CudaState) -> tuple[int, ...]:
    return tuple(pid for pid, found in states.items() if found is state)
