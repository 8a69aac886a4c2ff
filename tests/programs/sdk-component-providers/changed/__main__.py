"""The provider has another setting, a secret one."""

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


own = pulumi.ProviderResource("tools", "own", {"setting": pulumi.Output.secret("y"), "map": {"a": [1, True]}})
holder = pulumi.ComponentResource("sdk:index:Holder", "holder", None, pulumi.ResourceOptions(providers=[own]))
inner = pulumi.ComponentResource("sdk:index:Inner", "inner", None, pulumi.ResourceOptions(parent=holder))
below = Bench("below", pulumi.ResourceOptions(parent=inner), value=1)
alone = Bench("alone", value=1)
