"""An asynchronous program."""

import asyncio

import pulumi

pulumi.export("both", "exported")
pulumi.export("exported", 1)


async def main():
    first = pulumi.Stash("first", input=1)
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(make(number)) for number in range(3)]
    made = await asyncio.gather(*tasks)
    return {"both": "returned", "made": [m.output for m in made], "first": first.output}


async def make(number):
    await asyncio.sleep(0.01 * number)
    return pulumi.Stash(f"task-{number}", input=number)


pulumi.run(main)
