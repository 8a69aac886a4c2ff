"""The create is done."""

import pulumi
from pulumi import ResourceHookBinding, ResourceOptions


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


@pulumi.resource_hook("fails")
def fails(args):
    """Says no."""
    raise RuntimeError(f"hook of {args.name} says no")


pulumi.Stash("item", input=1, opts=ResourceOptions(hooks=ResourceHookBinding(after_create=[fails])))
