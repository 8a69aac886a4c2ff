"""A coroutine that raises, given as an input. `later` stays as it was: a change would be a race."""

import asyncio

import pulumi


async def bad():
    await asyncio.sleep(0)
    raise LookupError("no value")


pulumi.Stash("later", input={"a": 1, "b": ["two", pulumi.Output.secret(3)]})
pulumi.Stash("never", input=bad())
