"""Calls methods with known, unknown and secret arguments."""

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
bench = Bench("bench", value=1)
greeting = bench.method("greet", who="you")
pulumi.export("greeting", greeting["greeting"])
pulumi.export("early", greeting["greeting"].apply(len))
pulumi.export("hidden", bench.method("hide", who="hush"))
pulumi.export("secret", bench.method("greet", who=pulumi.Output.secret("hush")))
late = bench.method("greet", who=base.output)["greeting"]
pulumi.Stash("user", input=late)
