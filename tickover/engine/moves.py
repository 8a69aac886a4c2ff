"""What changes in the state of a resource that does not change.

Owns: that comparison. Promises: pure; times and positions in the source do not count. Never: decides a step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tickover.engine.urn import STACK_TYPE
from tickover.engine.values import contains_unknown

if TYPE_CHECKING:
    from tickover.engine.entries import Entry


def is_remembered_otherwise(entry: Entry) -> bool:
    """True if the state is to be written although nothing is to be done."""
    old, new = entry.old, entry.new
    if old is None:
        return False
    is_open = entry.goal.type == STACK_TYPE or contains_unknown(new.outputs)
    same = replace(
        new,
        created=old.created,
        modified=old.modified,
        source_position=old.source_position,
        id=old.id,
        aliases=old.aliases,
        inputs=old.inputs if contains_unknown(new.inputs) else new.inputs,
        outputs=old.outputs if is_open else new.outputs,
        extra={**new.extra, **({"stackTrace": old.extra["stackTrace"]} if "stackTrace" in old.extra else {})},
    )
    return same != old
