"""Two errors are allowed."""

import pathlib

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

TRIES = pathlib.Path("tries.txt")


class Slow(ResourceProvider):
    """Works at the third attempt."""

    def create(self, props):
        count = len(TRIES.read_text()) + 1 if TRIES.exists() else 1
        TRIES.write_text("x" * count)
        if count < 3:
            raise RuntimeError("not yet")
        return CreateResult("id", {"attempts": count})


class Thing(Resource):
    """Made by Slow."""

    attempts: pulumi.Output[int]


calls = []


@pulumi.error_hook("again")
def again(args):
    """Tries again as often as it is allowed."""
    calls.append(
        [args.name, args.failed_operation, len(args.errors), all("not yet" in e for e in args.errors)]
    )
    return len(args.errors) < 5


made = Thing(
    Slow(),
    "slow",
    {"attempts": None},
    pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(on_error=[again])),
)
pulumi.export("attempts", made.attempts)
pulumi.export("calls", made.attempts.apply(lambda _: calls))
