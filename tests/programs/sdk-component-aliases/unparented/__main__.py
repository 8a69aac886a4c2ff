"""Back at the top, by URN."""

import pulumi


class Box(pulumi.ComponentResource):
    """Two children: one has its name as a prefix."""

    def __init__(self, kind, name, opts=None):
        super().__init__(kind, name, None, opts)
        under = pulumi.ResourceOptions(parent=self)
        inner = pulumi.ComponentResource("sdk:index:Inner", f"{name}-inner", None, under)
        pulumi.Stash(f"{name}-item", input=1, opts=pulumi.ResourceOptions(parent=inner))
        pulumi.Stash("fixed", input=1, opts=under)


urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::sdk:index:Outer$sdk:other:Case::case"
Box("sdk:other:Case", "case", pulumi.ResourceOptions(aliases=[urn]))
