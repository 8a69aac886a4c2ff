"""The old name."""

import pulumi

holder = pulumi.ComponentResource("sdk:index:Holder", "holder")
pulumi.Stash("old", input=1, opts=pulumi.ResourceOptions(parent=holder))
