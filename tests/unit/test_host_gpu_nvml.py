"""What NVML says, and what is said when there is none."""

from types import SimpleNamespace

import pytest

from tickover.host.gpu.nvml import (
    GIB,
    MIB,
    Card,
    CardProcess,
    CardsFailed,
    NoCards,
    Reading,
    open_cards,
    read,
)


class FakeNvml:
    """The part of the module pynvml that is used."""

    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_GPU_IS_LOST = 15

    class NVMLError(Exception):
        def __init__(self, value):
            super().__init__(f"error {value}")
            self.value = value

    def __init__(self, count=1, at_init=None):
        self.count, self.at_init, self.at_call, self.listed, self.is_shut = count, at_init, None, [], False

    def nvmlInit(self):
        if self.at_init is not None:
            raise self.NVMLError(self.at_init)

    def nvmlShutdown(self):
        self.is_shut = True

    def nvmlDeviceGetCount(self):
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetUUID(self, handle):
        return f"GPU-{handle}".encode()

    def nvmlDeviceGetName(self, handle):
        return "Tesla T4"

    def nvmlDeviceGetMemoryInfo(self, handle):
        if self.at_call is not None:
            raise self.NVMLError(self.at_call)
        return SimpleNamespace(total=15 * GIB, used=483 * MIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.listed]


def missing():
    raise ImportError("No module named 'pynvml'")


def test_without_the_package_there_are_no_cards():
    assert open_cards(missing) == NoCards("the Python package nvidia-ml-py is not installed")


@pytest.mark.parametrize(
    ("nvml", "said"),
    [
        (FakeNvml(at_init=12), "the NVIDIA driver is not installed (libnvidia-ml.so.1 is not there)"),
        (FakeNvml(at_init=9), "the NVIDIA driver is installed but not loaded"),
        (FakeNvml(at_init=4), "this user may not use the NVIDIA driver"),
        (FakeNvml(at_init=999), "NVML does not start: error 999"),
        (FakeNvml(count=0), "the NVIDIA driver runs but sees no card"),
    ],
    ids=["no library", "no driver", "no permission", "unknown", "no card"],
)
def test_no_driver_is_an_answer(nvml, said):
    assert open_cards(lambda: nvml) == NoCards(said)


def test_a_card_that_cannot_be_opened_is_an_answer_too():
    nvml = FakeNvml()
    nvml.at_call = 15
    assert open_cards(lambda: nvml) == NoCards("card number 0 could not be read: error 15")


def test_cards_and_processes_are_read():
    nvml = FakeNvml(count=2)
    nvml.listed = [(30, 5), (7, None), (30, 6)]
    cards = open_cards(lambda: nvml)
    assert cards.cards()[1] == Card(1, "GPU-1", "Tesla T4", 15 * GIB)
    reading = read(cards, cards.cards()[0])
    assert reading.processes == (CardProcess(7, None), CardProcess(30, 11))
    assert reading.free_bytes == 15 * GIB - 483 * MIB
    cards.close()
    assert nvml.is_shut


@pytest.mark.parametrize(("code", "is_lost"), [(15, True), (999, False)])
def test_a_card_that_fails_later_is_named(code, is_lost):
    nvml = FakeNvml()
    cards = open_cards(lambda: nvml)
    nvml.at_call = code
    with pytest.raises(CardsFailed) as failed:
        cards.used_bytes("GPU-0")
    assert (failed.value.uuid, failed.value.is_lost) == ("GPU-0", is_lost)
    with pytest.raises(CardsFailed, match="no such card"):
        cards.used_bytes("GPU-7")


@pytest.mark.parametrize(
    ("processes", "mine", "foreign"),
    [
        (((1, 10), (2, 20), (3, 40)), 30, 40),
        (((1, 10), (2, None), (3, 40)), None, 40),
        (((1, 10), (2, 20), (3, None)), 30, 70),
        (((3, 40),), 0, 40),
        ((), 0, 0),
    ],
    ids=["all tell", "ours is silent", "another is silent", "only others", "empty"],
)
def test_who_has_what_on_a_card(processes, mine, foreign):
    card = Card(0, "GPU-0", "Tesla T4", 1000)
    reading = Reading(card, 105, tuple(CardProcess(pid, used) for pid, used in processes))
    assert reading.used_by({1, 2}) == mine
    assert reading.foreign_bytes({1, 2}, floor_bytes=5) == foreign
