"""Registers two entry points."""

import pulumi


async def main():
    return {"a": 1}


pulumi.run(main)
pulumi.run(main)
