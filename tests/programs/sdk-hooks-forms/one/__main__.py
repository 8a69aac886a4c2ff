"""Many ways to say it."""

import pulumi
from pulumi import ResourceHook, ResourceHookBinding, ResourceOptions


def said():
    """The calls of all runs until now."""
    with open("calls.txt", "a+", encoding="utf-8") as file:
        file.seek(0)
        return file.read().split("\n")[:-1]


def say(text):
    """Notes a call."""
    with open("calls.txt", "a", encoding="utf-8") as file:
        file.write(text + "\n")


def read(properties):
    """The input as it comes: a secret is an output; the names for what has none."""
    value = properties.get("input", sorted(properties))
    return "an output" if isinstance(value, pulumi.Output) else value


def note(name, args):
    """Notes a call with what it got."""
    parts = {
        "new": args.new_inputs,
        "old": args.old_inputs,
        "newOut": args.new_outputs,
        "oldOut": args.old_outputs,
    }
    shown = {key: read(value) for key, value in parts.items() if value is not None}
    say(f"{name} {args.name} {args.type} {bool(args.id)} {shown}")


async def slow(args):
    """A coroutine."""
    say(f"slow {await args.new_inputs['input'].future()}")


@pulumi.resource_hook("shared")
def shared(args):
    """By decorator."""
    note("shared", args)


def plain(args):
    """A function without a name of its own."""
    note("plain", args)


def add(args):
    """Adds a hook in a transform."""
    if args.name != "transformed":
        return None
    binding = ResourceHookBinding(after_create=[shared])
    return pulumi.ResourceTransformResult(
        args.props, ResourceOptions.merge(args.opts, ResourceOptions(hooks=binding))
    )


shared(pulumi.ResourceHookArgs("urn", "id", "called by hand", "type"))
pulumi.runtime.register_resource_transform(add)
one = pulumi.Stash(
    "one",
    input=pulumi.Output.secret("hush"),
    opts=ResourceOptions(hooks=ResourceHookBinding(after_create=[shared, ResourceHook("slow", slow)])),
)
two = pulumi.Stash(
    "transformed",
    input=[one.output, "two"],
    opts=ResourceOptions(hooks=ResourceHookBinding(before_create=[plain]), depends_on=[one]),
)
after_two = ResourceOptions(
    hooks=ResourceHookBinding(before_create=[shared], after_create=[shared]), depends_on=[two]
)
holder = pulumi.ComponentResource("sdk:index:Holder", "holder", {"a": 1}, after_two)
child = pulumi.Stash("child", input=1, opts=ResourceOptions(parent=holder, depends_on=[two]))
holder.register_outputs({"child": child.output})
pulumi.export("calls", pulumi.Output.all(child.output, holder.urn, two.output).apply(lambda _: said()))
