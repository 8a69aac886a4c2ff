"""Starts a task from the top level that registers later and one that nobody waits for."""

import asyncio

import pulumi

loop = asyncio.get_event_loop()
done = loop.create_future()


async def later():
    await asyncio.sleep(0.05)
    made = pulumi.Stash("later", input="late")
    done.set_result(await made.output.future())


async def forgotten():
    await asyncio.sleep(30)


task = loop.create_task(later())
running = {loop.create_task(forgotten())}
pulumi.export("done", done)
pulumi.export("task", task)
