"""A chain of dynamic resources whose inputs are outputs of others."""

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class Numbers(ResourceProvider):
    """Adds one."""

    def diff(self, id, olds, news):
        return DiffResult(changes=olds["value"] != news["value"])

    def create(self, props):
        return CreateResult(f"number-{int(props['value'])}", {**props, "next": props["value"] + 1})

    def update(self, id, olds, news):
        return UpdateResult({**news, "next": news["value"] + 1})


class Number(Resource):
    """A number."""

    next: pulumi.Output[int]

    def __init__(self, name, value, opts=None, **props):
        super().__init__(Numbers(), name, {"value": value, "next": None, **props}, opts)


first = Number("first", 1)
second = Number("second", first.next, mixed={"known": 1, "unknown": first.next, "list": [first.next, "two"]})
third = Number("third", second.next, pulumi.ResourceOptions(depends_on=[first]))
pulumi.export("third", third.next)
pulumi.export("mixed", {"known": 1, "later": third.next, "secret": pulumi.Output.secret(second.next)})
pulumi.Stash("text", input=pulumi.Output.concat("value ", third.next.apply(int).apply(str)))
