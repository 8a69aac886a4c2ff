"""libcuda's checkpoint calls, through ctypes.

Owns: the five cuCheckpointProcess functions and the names of the driver's errors. Promises: a failure is a
`DriverError` with the driver's own name for it; needs no CUDA context and takes no memory on a card. Never:
runs in the host: only `checkpoint_helper` makes one, because a call may never return.

ctypes and not cuda-bindings: five functions with one struct of two fields do not earn a package that follows
CUDA's releases and is as large as all of tickover; libcuda.so.1 comes with the driver, and one way that is
always taken is tested always.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final, Protocol

STATES: Final = {0: "running", 1: "locked", 2: "checkpointed", 3: "failed"}


class DriverError(Exception):
    """code: the driver's name of the error."""

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason or code


class Driver(Protocol):
    """The calls as the driver offers them: blocking, one process at a time. All raise DriverError."""

    def state(self, pid: int) -> str: ...

    def lock(self, pid: int, timeout_ms: int) -> None: ...

    def checkpoint(self, pid: int) -> None: ...

    def restore(self, pid: int) -> None: ...

    def unlock(self, pid: int) -> None: ...


class _LockArgs(ctypes.Structure):
    """CUcheckpointLockArgs: 64 bytes, the unused ones zero."""

    _fields_ = (
        ("timeout_ms", ctypes.c_uint),
        ("reserved0", ctypes.c_uint),
        ("reserved1", ctypes.c_uint64 * 7),
    )


class Libcuda:
    """`Driver` over libcuda.so.1. Making one loads it and calls cuInit; raises DriverError."""

    def __init__(self, name: str = "libcuda.so.1") -> None:
        try:
            self._library: Any = ctypes.CDLL(name)
        except OSError as error:
            raise DriverError(
                "no-driver", f"the NVIDIA driver is not installed ({name} is not there)"
            ) from error
        if not hasattr(self._library, "cuCheckpointProcessLock"):
            raise DriverError("old-driver", "this NVIDIA driver has no checkpoint; 570 and later have one")
        self._call("cuInit", 0)

    def state(self, pid: int) -> str:
        found = ctypes.c_int(-1)
        try:
            self._call("cuCheckpointProcessGetState", pid, ctypes.byref(found))
        except DriverError as error:
            is_gone = error.code == "CUDA_ERROR_OPERATING_SYSTEM" and not os.path.exists(f"/proc/{pid}")
            if is_gone or error.code == "CUDA_ERROR_NOT_INITIALIZED":  # the latter: it does not use CUDA
                return "none"
            raise
        return STATES.get(found.value, f"unknown {found.value}")

    def lock(self, pid: int, timeout_ms: int) -> None:
        self._call("cuCheckpointProcessLock", pid, ctypes.byref(_LockArgs(timeout_ms=timeout_ms)))

    # The arguments of the others are optional: none means this process, all of it, on the cards it was on.
    def checkpoint(self, pid: int) -> None:
        self._call("cuCheckpointProcessCheckpoint", pid, None)

    def restore(self, pid: int) -> None:
        self._call("cuCheckpointProcessRestore", pid, None)

    def unlock(self, pid: int) -> None:
        self._call("cuCheckpointProcessUnlock", pid, None)

    def _call(self, name: str, number: int, *more: Any) -> None:
        code = int(getattr(self._library, name)(ctypes.c_int(number), *more))
        if code != 0:
            raise DriverError(self._name(code))

    def _name(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
        return text.value.decode() if text.value else f"CUDA error {code}"
