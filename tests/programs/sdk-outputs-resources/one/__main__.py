"""Exports resources in several shapes."""

import pulumi


class Box(pulumi.ComponentResource):
    """A component with one output."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:index:Box", name, None, opts)
        self.child = pulumi.Stash(f"{name}-in", input=name, opts=pulumi.ResourceOptions(parent=self))
        self.label = pulumi.Output.concat("label of ", name)
        self.register_outputs({"label": self.label, "child": self.child})


box = Box("box")
stash = pulumi.Stash("stash", input={"a": [1, 2], "b": pulumi.Output.secret("hush")})
pulumi.export("stash", stash)
pulumi.export("box", box)
pulumi.export("both", {"list": [stash, box.child], "output": stash.output})
pulumi.export("lazy", stash.output.apply(lambda _: stash))
pulumi.export("urn", stash.urn)
pulumi.export("id", stash.id)
