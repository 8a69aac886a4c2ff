"""Plain and asynchronous invokes."""

import pulumi

known = pulumi.Stash("known", input="right")


async def main():
    urn = await known.urn.future()
    plain = await pulumi.runtime.invoke_async("pulumi:pulumi:getResource", {"urn": urn})
    pulumi.export("plain", plain["state"]["input"])
    pulumi.export("single", sorted(plain))


pulumi.run(main)
