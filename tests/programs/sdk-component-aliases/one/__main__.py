"""The first names."""

import pulumi


class Box(pulumi.ComponentResource):
    """Two children: one has its name as a prefix."""

    def __init__(self, kind, name, opts=None):
        super().__init__(kind, name, None, opts)
        under = pulumi.ResourceOptions(parent=self)
        inner = pulumi.ComponentResource("sdk:index:Inner", f"{name}-inner", None, under)
        pulumi.Stash(f"{name}-item", input=1, opts=pulumi.ResourceOptions(parent=inner))
        pulumi.Stash("fixed", input=1, opts=under)


Box("sdk:index:Box", "box")
