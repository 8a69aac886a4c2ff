"""Inputs of each kind."""

import pulumi


class Bench(pulumi.ComponentResource):
    """Made by the plugin tools."""

    told: pulumi.Output[str]
    kinds: pulumi.Output[dict]

    def __init__(self, name, opts=None, **props):
        super().__init__(
            "tools:index:Bench",
            name,
            {"told": None, "kinds": None, "plain": None, **props},
            opts,
            remote=True,
        )

    def method(self, name, **args):
        """Calls a method."""
        return pulumi.runtime.call(f"tools:index:Bench/{name}", {"__self__": self, **args}, self)


base = pulumi.Stash("base", input="ada")
local = pulumi.ComponentResource("sdk:index:Local", "local")
first = Bench("first", value="text", number=1, none=None, deep={"a": [1, {"b": "c"}]})
second = Bench(
    "second",
    value=base.output,
    secret=pulumi.Output.secret("hush"),
    mixed=[base.output, 1, pulumi.Output.secret(2)],
)
third = Bench("third", value="x", resource=base, component=local, remote=first, list=[base, {"in": local}])
pulumi.export("told", [first.told, second.told])
pulumi.export("kinds", [first.kinds, second.kinds, third.kinds])
