"""A coroutine that raises, given as an input."""

import asyncio

import pulumi


async def bad():
    await asyncio.sleep(0)
    raise LookupError("no value")


pulumi.Stash("later", input="again")
pulumi.Stash("never", input=bad())
