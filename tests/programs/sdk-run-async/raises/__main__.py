"""Raises while tasks are under way."""

import asyncio

import pulumi


async def main():
    pulumi.Stash("first", input=2)
    await asyncio.sleep(0.2)
    raise RuntimeError("in main")


pulumi.run(main)
