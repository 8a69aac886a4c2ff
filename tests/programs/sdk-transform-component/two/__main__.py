"""The new name; the alias comes from a transform."""

import pulumi


def alias(args):
    """Every resource was called old before."""
    if not args.custom:
        return None
    opts = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")]))
    return pulumi.ResourceTransformResult(args.props, opts)


pulumi.runtime.register_resource_transform(alias)
holder = pulumi.ComponentResource("sdk:index:Holder", "holder")
pulumi.Stash("new", input=1, opts=pulumi.ResourceOptions(parent=holder))
