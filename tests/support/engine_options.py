"""What the tests of options share: looks at a scripted stack, scripted failures, edits by hand."""

from __future__ import annotations

import asyncio

from tests.support.engine_scripted import name_of, yes
from tickover.engine import operations
from tickover.engine.events import Diagnostic
from tickover.engine.provider import Severity
from tickover.engine.targeting import Choice
from tickover.errors import TickoverError

CHAIN = 'a = Thing("a", size={0})\nb = Thing("b", of=a.token, size={0})\nThing("c", size={0})\n'


def entry(stack, name):
    (found,) = [r for r in stack.deployment().resources if name_of(r.urn) == name]
    return found


def sizes(stack):
    return {n: entry(stack, n).inputs.get("size") for n in stack.names()}


def errors(stack):
    return [e.message for e in stack.events if isinstance(e, Diagnostic) and e.severity is Severity.ERROR]


def failing(error):
    async def fail():
        raise error

    return fail


def once(error):
    left = [error]

    async def fail():
        if left:
            raise left.pop()

    return fail


def refused():
    return TickoverError("refused", "The cloud refused", "It said no.")


def only(*names, **more):
    return Choice(targets=tuple(f"**::{name}" for name in names), **more)


def destroy(stack, **fields):
    return asyncio.run(operations.destroy(stack.request(**fields), yes))


def mark(stack, marking):
    """The state with an edit by hand."""
    loaded = stack.backend.load("demo", "dev", stack.keyring())
    stack.backend.save("demo", "dev", marking(loaded.deployment), stack.keyring())


def done(stack):
    """Effects since the last look."""
    found = stack.world.effects()
    stack.world.calls.clear()
    return found
