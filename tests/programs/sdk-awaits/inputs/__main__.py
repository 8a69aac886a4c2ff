"""Coroutines and futures as inputs at several depths."""

import asyncio

import pulumi


async def value(result, delay=0.0):
    await asyncio.sleep(delay)
    return result


made = pulumi.Stash("later", input={"a": value(1), "b": [value("two", 0.02), value(pulumi.Output.secret(3))]})
pulumi.Stash("gathered", input=asyncio.gather(value(1), value(2)))
pulumi.export("made", made.output)
pulumi.export("lazily", value(made.output))
