"""Runs the loop inside the program by hand."""

import asyncio

import pulumi

made = pulumi.Stash("later", input="by hand")


async def read():
    return await made.output.future()


pulumi.export("read", read())
pulumi.export("known", made.output.is_known())
pulumi.export("loop", asyncio.get_event_loop().is_running())
