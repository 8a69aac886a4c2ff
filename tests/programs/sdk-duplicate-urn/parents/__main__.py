"""The same name under two parents is two resources."""

import pulumi

left = pulumi.ComponentResource("sdk:index:Side", "left")
right = pulumi.ComponentResource("sdk:index:Other", "right")
for side in (left, right):
    pulumi.Stash("same", input=1, opts=pulumi.ResourceOptions(parent=side))
