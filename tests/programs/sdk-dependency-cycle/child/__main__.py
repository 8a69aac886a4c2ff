"""A child depends on the component that holds it, a component on its own child."""

import pulumi

holder = pulumi.ComponentResource("sdk:index:Holder", "holder")
first = pulumi.Stash("first", input=1, opts=pulumi.ResourceOptions(parent=holder, depends_on=[holder]))
second = pulumi.Stash(
    "second", input=first.output, opts=pulumi.ResourceOptions(parent=holder, depends_on=[first])
)
holder.register_outputs({"second": second.output})
pulumi.Stash("outside", input=1, opts=pulumi.ResourceOptions(depends_on=[holder]))
