"""Each level adds its mark."""

import pulumi


def mark(text):
    """Adds text to the input of stashes."""

    def transform(args):
        if args.type_ != "pulumi:index:Stash":
            return None
        props = {**args.props, "input": [*args.props["input"], f"{text}:{args.name}"]}
        return pulumi.ResourceTransformationResult(props, args.opts)

    return transform


def protect(args):
    """Options from a transformation."""
    merged = pulumi.ResourceOptions.merge(
        args.opts, pulumi.ResourceOptions(retain_on_delete=True, ignore_changes=["x"])
    )
    return pulumi.ResourceTransformationResult(args.props, merged)


pulumi.runtime.register_stack_transformation(mark("stack"))
holder = pulumi.ComponentResource(
    "sdk:index:Holder", "holder", None, pulumi.ResourceOptions(transformations=[mark("holder"), protect])
)
pulumi.Stash("alone", input=["own"])
pulumi.Stash(
    "child", input=["own"], opts=pulumi.ResourceOptions(parent=holder, transformations=[mark("self")])
)
