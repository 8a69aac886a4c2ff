"""One leaf is gone, the branch now registers an empty set."""

import pulumi


class Leaf(pulumi.ComponentResource):
    """Registers another output."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:index:Leaf", name, {"given": "changed"}, opts)
        self.item = pulumi.Stash(f"{name}-item", input=name, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"changed": [1, {"a": None}]})


class Branch(pulumi.ComponentResource):
    """Registers nothing."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:tree/deep:Branch", name, None, opts)
        self.left = Leaf(f"{name}-left", pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


Branch("branch")
