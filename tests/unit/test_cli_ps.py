"""`tickover ps`: how far down an idle instance is."""

import pytest

from tickover.commands.services import state_text


@pytest.mark.parametrize(
    ("state", "rung", "said"),
    [
        ("idle", "freeze", "idle (frozen)"),
        ("idle", "sleep", "idle (asleep)"),
        ("idle", "checkpoint", "idle (checkpointed)"),
        ("idle", "none", "idle"),
        ("busy", "none", "busy"),
        ("waking", "sleep", "waking"),
    ],
)
def test_an_idle_instance_tells_its_rung(state, rung, said):
    assert state_text({"state": state, "rung": rung}) == said
