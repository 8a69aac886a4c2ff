"""Cards, needs and ledgers for the tests of the GPU side."""

from tickover.host.gpu.inventory import take
from tickover.host.gpu.ledger import Denied, Ledger, Need, Rules, Tier, admit, counted, moved, open_ledger
from tickover.host.gpu.nvml import GIB, MIB, Card, Reading
from tickover.host.gpu.simulated import FLOOR_BYTES

SECOND = 1_000_000_000
H100 = Card(0, "GPU-a", "NVIDIA H100 80GB HBM3", 81559 * MIB)
H100_TOO = Card(1, "GPU-b", "NVIDIA H100 80GB HBM3", 81559 * MIB)
AT_ONCE = Rules(rest_ns=0, patience_ns=SECOND // 5)


def a_ledger(*cards, ram=1024 * GIB, rules=AT_ONCE) -> Ledger:
    readings = [Reading(card, FLOOR_BYTES, ()) for card in cards or (H100,)]
    return open_ledger(take(readings), ram, rules)


def a_need(name="i-a", awake=41 * GIB, **more) -> Need:
    given = {"weights_bytes": 16 * GIB, "can_deep": True, **more}
    return Need(
        name, f"chat-{name}", given.pop("digest", "sha256:1"), given.pop("model", "8b"), awake, **given
    )


def good(found):
    assert not isinstance(found, Denied), found
    return found


def placed(ledger, *needs, tiers=None, now=0):
    """The needs admitted one after another, each then in its tier."""
    for number, need in enumerate(needs):
        ledger = good(admit(ledger, need, now + number))
        tier = (tiers or {}).get(need.instance_id, Tier.DOWN)
        if tier is not Tier.DOWN:
            ledger = good(moved(ledger, need.instance_id, tier, now + number))
    return ledger


def request_began(ledger, name, now) -> Ledger | Denied:
    """As the door does: only to who is awake and in no swap."""
    holding = ledger.holdings[name]
    if holding.tier is not Tier.AWAKE or holding.is_moving:
        return Denied(f"instance {name} is {holding.tier.value} or on its way", is_final=False)
    return counted(ledger, name, holding.in_flight + 1, now)


def request_ended(ledger, name, now) -> Ledger:
    return counted(ledger, name, ledger.holdings[name].in_flight - 1, now)
