"""Children of a component depend on each other, an outsider on the whole component."""

import pulumi

holder = pulumi.ComponentResource("sdk:index:Holder", "holder")
first = pulumi.Stash("first", input=1, opts=pulumi.ResourceOptions(parent=holder))
second = pulumi.Stash(
    "second", input=first.output, opts=pulumi.ResourceOptions(parent=holder, depends_on=[first])
)
holder.register_outputs({"second": second.output})
pulumi.Stash("outside", input=1, opts=pulumi.ResourceOptions(depends_on=[holder]))
