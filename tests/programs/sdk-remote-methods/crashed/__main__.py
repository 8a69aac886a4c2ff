"""The method raises."""

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


bench = Bench("bench", value=1)
pulumi.export("crashed", bench.method("crash", who="you"))
