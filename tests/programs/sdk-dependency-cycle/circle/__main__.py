"""The first child depends on its holder."""

import pulumi

holder = pulumi.ComponentResource("sdk:index:Holder", "holder")


async def main():
    await holder.urn.future()
    under = pulumi.ResourceOptions(parent=holder)
    first = pulumi.Stash("first", input=1, opts=pulumi.ResourceOptions(parent=holder, depends_on=[holder]))
    pulumi.Stash(
        "second",
        input=1,
        opts=pulumi.ResourceOptions.merge(under, pulumi.ResourceOptions(depends_on=[first])),
    )


pulumi.run(main)
