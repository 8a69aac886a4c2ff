"""Each level adds its mark; one is asynchronous, one changes options."""

import asyncio

import pulumi

seen = []


def mark(text):
    """Adds text to the input of stashes."""

    async def transform(args):
        await asyncio.sleep(0)
        if args.type_ != "pulumi:index:Stash" or not isinstance(args.props["input"], list):
            return None
        return pulumi.ResourceTransformResult(
            {**args.props, "input": [*args.props["input"], f"{text}:{args.name}"]}, args.opts
        )

    return transform


def options(args):
    """Changes options, tells what it saw."""
    if args.name == "child":
        seen.append([args.custom, args.type_, args.opts.protect, sorted(args.props)])
        opts = pulumi.ResourceOptions.merge(
            args.opts,
            pulumi.ResourceOptions(
                retain_on_delete=True,
                ignore_changes=["x"],
                depends_on=[alone],
                custom_timeouts=pulumi.CustomTimeouts(create="1m"),
                additional_secret_outputs=["output"],
            ),
        )
        return pulumi.ResourceTransformResult(args.props, opts)
    return None


def secret(args):
    """Makes an input secret, another plain, adds a dependency."""
    if args.name == "closed":
        return pulumi.ResourceTransformResult({"input": pulumi.Output.secret(args.props["input"])}, args.opts)
    if args.name == "opened":
        return pulumi.ResourceTransformResult(
            {"input": pulumi.Output.unsecret(args.props["input"])}, args.opts
        )
    if args.name == "pointed":
        return pulumi.ResourceTransformResult({"input": alone.output}, args.opts)
    return None


alone = pulumi.Stash("alone", input=["own"])
pulumi.runtime.register_resource_transform(mark("stack"))
pulumi.runtime.register_stack_transform(secret)
holder = pulumi.ComponentResource(
    "sdk:index:Holder", "holder", None, pulumi.ResourceOptions(transforms=[mark("holder")])
)
child = pulumi.Stash(
    "child",
    input=["own"],
    opts=pulumi.ResourceOptions(parent=holder, transforms=[mark("self"), options], protect=False),
)
pulumi.Stash("closed", input="text")
pulumi.Stash("opened", input=pulumi.Output.secret("text"))
pulumi.Stash("pointed", input="text")
pulumi.Stash("late", input=child.output.apply(lambda v: [*v, "late"]))
pulumi.export("seen", child.output.apply(lambda _: seen))
