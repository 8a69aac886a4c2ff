"""An assembly under a local parent; a stack transform marks every stash."""

import pulumi


class Part(pulumi.ComponentResource):
    """Made by the plugin parts."""

    label: pulumi.Output[str]
    doubled: pulumi.Output[int]

    def __init__(self, name, opts=None, kind="Part", **props):
        outputs = {"stored": None, "doubled": None, "last": None}
        super().__init__(f"parts:index:{kind}", name, {**outputs, **props}, opts, remote=True)


def mark(args):
    """Reaches what the plugin registers."""
    if args.type_ != "pulumi:index:Stash":
        return None
    return pulumi.ResourceTransformResult({"input": ["marked", args.props["input"]]}, args.opts)


pulumi.runtime.register_resource_transform(mark)
number = pulumi.Stash("number", input=2)
site = pulumi.ComponentResource("sdk:index:Site", "site")
assembly = Part(
    "assembly",
    pulumi.ResourceOptions(parent=site, depends_on=[number]),
    kind="Assembly",
    parts=2,
    names=["a", "b"],
)
pulumi.Stash("last", input=assembly.urn, opts=pulumi.ResourceOptions(depends_on=[assembly]))
