"""One changes, one is gone, one has options."""

import pulumi


class Part(pulumi.ComponentResource):
    """Made by the plugin parts."""

    label: pulumi.Output[str]
    doubled: pulumi.Output[int]

    def __init__(self, name, opts=None, kind="Part", **props):
        outputs = {"stored": None, "doubled": None, "last": None}
        super().__init__(f"parts:index:{kind}", name, {**outputs, **props}, opts, remote=True)


base = pulumi.Stash("base", input={"name": "ada", "n": 3})
plain = Part(
    "plain", label="other", count=5, opts=pulumi.ResourceOptions(protect=False, retain_on_delete=True)
)
renamed = Part("renamed", label="hush", opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="secret")]))
pulumi.export("labels", [plain.label, renamed.label])
