"""Keeps a, drops b, adds c, waits until c is there, then raises."""

import pulumi

pulumi.Stash("a", input=1)
fresh = pulumi.Stash("c", input=1)
pulumi.export("step", "raises")


async def main():
    await fresh.output.future()
    raise ValueError("the program has had enough")


pulumi.run(main)
