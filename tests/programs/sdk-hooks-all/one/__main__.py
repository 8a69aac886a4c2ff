"""All six hooks on a stash, made while the key item is not set."""

import pulumi
from pulumi import ResourceHook, ResourceHookBinding, ResourceHookOptions, ResourceOptions


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


before = said()
hooks = {}
for moment in (
    "before_create",
    "after_create",
    "before_update",
    "after_update",
    "before_delete",
    "after_delete",
):

    def callback(args, moment=moment):
        note(moment, args)

    hooks[moment] = [
        ResourceHook(moment, callback, ResourceHookOptions(on_dry_run=moment == "before_create"))
    ]

config = pulumi.Config()
if config.get("item") != "no":
    made = pulumi.Stash(
        "item", input=config.get("value", "first"), opts=ResourceOptions(hooks=ResourceHookBinding(**hooks))
    )
    pulumi.export("during", made.output.apply(lambda _: said()))
pulumi.export("before", before)
