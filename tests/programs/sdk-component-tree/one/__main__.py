"""Three levels and an outsider that depends on the top."""

import pulumi


class Leaf(pulumi.ComponentResource):
    """Registers an output."""

    def __init__(self, name, opts=None):
        super().__init__(
            "sdk:index:Leaf", name, {"given": name, "secret": pulumi.Output.secret("hush")}, opts
        )
        self.item = pulumi.Stash(f"{name}-item", input=name, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"item": self.item.output, "closed": pulumi.Output.secret(1), "none": None})


class Branch(pulumi.ComponentResource):
    """Never registers outputs."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:tree/deep:Branch", name, None, opts)
        self.left = Leaf(f"{name}-left", pulumi.ResourceOptions(parent=self))
        self.right = Leaf(f"{name}-right", pulumi.ResourceOptions(parent=self, depends_on=[self.left]))


branch = Branch("branch")
pulumi.Stash("outsider", input=branch.left.item.output, opts=pulumi.ResourceOptions(depends_on=[branch]))
pulumi.export("urn", branch.right.urn)
