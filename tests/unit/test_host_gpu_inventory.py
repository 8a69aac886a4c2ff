"""Which of FC's GPU types a machine can stand for."""

import pytest

from tests.support.host_gpu import H100, H100_TOO
from tickover.host.gpu.inventory import NO_GPU_HINT, Floor, calibrate, describe, shortfall, stands_for, take
from tickover.host.gpu.nvml import MIB, Card, CardProcess, NoCards, Reading

T4 = Card(0, "GPU-t", "Tesla T4", 15360 * MIB)
TINY = Card(0, "GPU-s", "NVIDIA GeForce GTX 1650", 4096 * MIB)


def empty(*cards):
    return take([Reading(card, 483 * MIB, ()) for card in cards])


def test_a_card_stands_for_every_type_that_is_no_larger():
    assert stands_for(T4) == ("fc.gpu.tesla.1",)
    assert stands_for(H100)[:2] == ("fc.gpu.ada.1", "fc.gpu.ada.3")
    assert "fc.gpu.hopper.1" not in stands_for(H100)
    assert stands_for(TINY) == ()


@pytest.mark.parametrize(
    ("used", "processes", "floor"),
    [
        (483, (), Floor(483 * MIB, True)),
        (7787, (CardProcess(5, 7304 * MIB),), Floor(483 * MIB, False)),
        (7787, (CardProcess(5, None),), Floor(7787 * MIB, False)),
        (100, (CardProcess(5, 200 * MIB),), Floor(0, False)),
    ],
    ids=["empty", "others there", "others that do not tell", "listed before the total"],
)
def test_the_floor_is_what_nobody_accounts_for(used, processes, floor):
    assert calibrate(Reading(H100, used * MIB, processes)) == floor


def test_places_are_in_the_order_of_the_cards():
    assert [p.card.index for p in empty(H100_TOO, H100).places] == [0, 1]
    assert empty(H100).places[0].capacity_bytes == (81559 - 483) * MIB


def test_what_a_machine_lacks_is_said():
    none = take(NoCards("the NVIDIA driver is not installed"))
    assert shortfall(none, "fc.gpu.ada.1", 49152) == (
        "49152 MB of fc.gpu.ada.1 cannot be had: this machine has no GPU (the NVIDIA driver is not installed)"
    )
    both = empty(H100, H100_TOO)
    assert shortfall(both, "fc.gpu.ada.1", 2 * 49152) is None
    assert shortfall(both, "fc.gpu.ada.1", 3 * 49152) == (
        "147456 MB of fc.gpu.ada.1 needs 3 cards with 48 GB each; this machine has 2 cards of that size "
        "(2 cards in all, the largest with 80 GB)"
    )
    assert "has 0 cards of that size" in shortfall(both, "fc.gpu.hopper.1", 98304)
    assert "not a whole number of cards" in shortfall(both, "fc.gpu.ada.1", 1000)
    assert "not a whole number of cards" in shortfall(both, "fc.gpu.none", 1000)


def test_the_machine_is_described():
    assert describe(take(NoCards("no driver"))) == ("no GPU: no driver", NO_GPU_HINT)
    assert describe(empty(H100)) == (
        "GPU 0: NVIDIA H100 80GB HBM3, 80 GB, empty at 483 MB, stands for fc.gpu.ada.1 and smaller",
    )
    held = take([Reading(TINY, 600 * MIB, (CardProcess(5, 100 * MIB),))])
    assert describe(held) == (
        "GPU 0: NVIDIA GeForce GTX 1650, 4 GB, empty at 500 MB (estimated: processes were on it), "
        "smaller than any FC type",
    )
