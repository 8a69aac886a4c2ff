"""A deep line of components with a resource at its end."""

import pulumi

parent = None
for level in range(100):
    parent = pulumi.ComponentResource(
        "sdk:index:L", f"level-{level}", None, pulumi.ResourceOptions(parent=parent)
    )
end = pulumi.Stash("end", input=1, opts=pulumi.ResourceOptions(parent=parent))
pulumi.export("length", end.urn.apply(len))
