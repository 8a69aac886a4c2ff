"""The questions to drivers that may never answer, asked in a process of their own.

Owns: what is asked of libcuda and NVML. Promises: one JSON object a line on standard output, each as soon as
it is known, so that what came before a hang is not lost. Never: decides, runs within a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tickover.host.gpu import inventory, nvml
from tickover.host.gpu.checkpoint import CheckpointFailed, CudaState, HelperCheckpointer
from tickover.host.gpu.driver import DriverError, Libcuda

LIBRARY: Final = "libcuda.so.1"
LOCK_SECONDS: Final = 5.0
_START_SECONDS: Final = 20.0  # of a CUDA context on a card that was asleep
_TINY: Final = "import sys; from tickover.doctor.probe import tiny; sys.exit(tiny())"
_PATTERN: Final = bytes(range(256)) * 4096  # 1 MiB


class CudaFailed(Exception):
    """A call of the small process failed."""


def tell_cuda() -> None:
    """Two lines: what the library is, and the trial if there is a card."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        _say({"is_there": False, "trouble": f"{LIBRARY} is not there"})
        return
    found: dict[str, Any] = {"is_there": True, "has_checkpoint": hasattr(library, "cuCheckpointProcessLock")}
    try:
        if found["has_checkpoint"]:
            Libcuda(LIBRARY)  # the very way that the host takes
        _call(library, "cuInit", 0)
        number, count = ctypes.c_int(), ctypes.c_int()
        _call(library, "cuDriverGetVersion", ctypes.byref(number))
        _call(library, "cuDeviceGetCount", ctypes.byref(count))
    except (CudaFailed, DriverError) as error:
        trouble = error.reason if isinstance(error, DriverError) else str(error)
        _say({**found, "trouble": f"{LIBRARY} cannot be used: {trouble}"})
        return
    found |= {"version": f"{number.value // 1000}.{number.value % 1000 // 10}", "cards": count.value}
    _say(found)
    if found["has_checkpoint"] and count.value:
        _say({"trial": asyncio.run(trial())})


def tell_cards() -> None:
    """One line: the cards, as the host would see them."""
    cards = nvml.open_cards()
    if isinstance(cards, nvml.NoCards):
        _say({"lines": [], "reason": cards.reason})
        return
    try:
        readings = [nvml.read(cards, card) for card in cards.cards()]
    except nvml.CardsFailed as error:
        _say({"lines": [], "reason": str(error)})
        return
    finally:
        cards.close()
    _say({"lines": list(inventory.describe(inventory.take(readings))), "reason": ""})


async def trial() -> dict[str, Any]:
    """Lock, checkpoint, restore and unlock a small process that holds memory on card 0."""
    seconds: dict[str, float] = {}
    checkpointer = HelperCheckpointer()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-c",
        _TINY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said = await asyncio.wait_for(_line(process), _START_SECONDS)
        if said != "ready":
            return {"seconds": seconds, "trouble": said or "it ended at its start"}
        pid = process.pid
        await checkpointer.warm_up()
        calls: dict[str, Callable[[], Awaitable[None]]] = {
            "lock": lambda: checkpointer.lock(pid, LOCK_SECONDS),
            "checkpoint": lambda: checkpointer.checkpoint(pid),
            "restore": lambda: checkpointer.restore(pid),
            "unlock": lambda: checkpointer.unlock(pid),
        }
        for verb, call in calls.items():
            began = time.monotonic()
            await call()
            seconds[verb] = round(time.monotonic() - began, 4)
        state = await checkpointer.state(pid)
        if state is not CudaState.RUNNING:
            return {"seconds": seconds, "trouble": f"afterwards it is {state.value}"}
        assert process.stdin is not None
        process.stdin.write(b"look\n")
        said = await asyncio.wait_for(_line(process), _START_SECONDS)
        return {"seconds": seconds, "trouble": "" if said == "same" else said or "it ended after its restore"}
    except CheckpointFailed as error:
        return {"seconds": seconds, "trouble": str(error)}
    except TimeoutError:
        return {"seconds": seconds, "trouble": f"it said nothing for {_START_SECONDS:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await checkpointer.close()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def tiny() -> int:
    """The small process: it puts a pattern on card 0, waits, and looks whether it is there still."""
    try:
        library = ctypes.CDLL(LIBRARY)
        device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
        _call(library, "cuInit", 0)
        _call(library, "cuDeviceGet", ctypes.byref(device), 0)
        _call(library, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        _call(library, "cuCtxSetCurrent", context)
        size = ctypes.c_size_t(len(_PATTERN))
        _call(library, "cuMemAlloc_v2", ctypes.byref(pointer), size)
        _call(library, "cuMemcpyHtoD_v2", pointer, _PATTERN, size)
        print("ready", flush=True)  # noqa: T201 it is this process's answer
        sys.stdin.readline()
        back = ctypes.create_string_buffer(len(_PATTERN))
        _call(library, "cuMemcpyDtoH_v2", back, pointer, size)
    except (CudaFailed, OSError) as error:
        print(error, flush=True)  # noqa: T201
        return 1
    is_same = back.raw == _PATTERN
    print("same" if is_same else "its memory came back changed", flush=True)  # noqa: T201
    return 0


def _call(library: Any, name: str, *arguments: Any) -> None:
    """Raises CudaFailed."""
    code = int(getattr(library, name)(*arguments))
    if code != 0:
        text = ctypes.c_char_p()
        library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
        raise CudaFailed(f"{name}: {text.value.decode() if text.value else code}")


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


QUESTIONS: Final[dict[str, Callable[[], None]]] = {"cuda": tell_cuda, "cards": tell_cards}

if __name__ == "__main__":
    QUESTIONS[sys.argv[1]]()
