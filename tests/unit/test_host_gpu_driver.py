"""The calls into libcuda, against a stand-in for the library; the answers are those of a real driver."""

import ctypes
import os

import pytest

from tickover.host.gpu import driver
from tickover.host.gpu.driver import DriverError, Libcuda

NAMES = {
    3: b"CUDA_ERROR_NOT_INITIALIZED",
    304: b"CUDA_ERROR_OPERATING_SYSTEM",
    401: b"CUDA_ERROR_ILLEGAL_STATE",
}
NO_PROCESS = 2**22 + 1  # above the kernel's largest process id


class FakeLibrary:
    def __init__(self, **codes):
        self.codes, self.calls, self.state, self.timeout = codes, [], 2, None

    def cuInit(self, flags):
        return self.codes.get("cuInit", 0)

    def cuGetErrorName(self, code, where):
        where._obj.value = NAMES.get(code.value)

    def _done(self, name, pid, *more):
        self.calls.append((name, pid.value, *more))
        return self.codes.get(name, 0)

    def cuCheckpointProcessGetState(self, pid, where):
        where._obj.value = self.state
        return self._done("state", pid)

    def cuCheckpointProcessLock(self, pid, arguments):
        self.timeout = arguments._obj.timeout_ms
        assert ctypes.sizeof(arguments._obj) == 64
        return self._done("lock", pid)

    def cuCheckpointProcessCheckpoint(self, pid, arguments):
        return self._done("checkpoint", pid, arguments)

    def cuCheckpointProcessRestore(self, pid, arguments):
        return self._done("restore", pid, arguments)

    def cuCheckpointProcessUnlock(self, pid, arguments):
        return self._done("unlock", pid, arguments)


@pytest.fixture
def library(monkeypatch):
    fake = FakeLibrary()
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: fake)
    return fake


def test_every_call_is_of_one_process(library):
    real = Libcuda()
    real.lock(7, 10_000)
    real.checkpoint(7)
    assert real.state(7) == "checkpointed"
    real.restore(7)
    real.unlock(7)
    assert library.timeout == 10_000
    assert library.calls == [
        ("lock", 7),
        ("checkpoint", 7, None),
        ("state", 7),
        ("restore", 7, None),
        ("unlock", 7, None),
    ]


def test_an_error_has_the_drivers_name(library):
    library.codes = {"lock": 401, "restore": 12345}
    with pytest.raises(DriverError) as failed:
        Libcuda().lock(7, 1)
    assert failed.value.code == "CUDA_ERROR_ILLEGAL_STATE"
    with pytest.raises(DriverError, match="CUDA error 12345"):
        Libcuda().restore(7)


@pytest.mark.parametrize(
    ("code", "pid", "said"),
    [(3, os.getpid(), "none"), (304, NO_PROCESS, "none"), (304, os.getpid(), None)],
    ids=["no CUDA in it", "gone", "not ours to ask"],
)
def test_the_state_of_what_has_none(library, code, pid, said):
    library.codes = {"state": code}
    if said is None:
        with pytest.raises(DriverError):
            Libcuda().state(pid)
    else:
        assert Libcuda().state(pid) == said


def test_an_unknown_state_is_told_as_it_is(library):
    library.state = 9
    assert Libcuda().state(7) == "unknown 9"


def test_no_driver_and_an_old_one_are_said(monkeypatch):
    with pytest.raises(DriverError) as failed:
        Libcuda("libnone.so.1")
    assert failed.value.code == "no-driver"
    with pytest.raises(DriverError) as failed:
        Libcuda("libc.so.6")  # any library without the calls
    assert failed.value.code == "old-driver"


def test_a_driver_that_does_not_start_is_said(library):
    library.codes = {"cuInit": 304}
    with pytest.raises(DriverError, match="CUDA_ERROR_OPERATING_SYSTEM"):
        Libcuda()
