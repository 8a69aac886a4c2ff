"""Parts with all kinds of inputs."""

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
    "plain",
    label="text",
    count=4,
    grade="rough",
    size={"wideMm": 10, "highMm": 20},
    tags={"a": "b"},
    holes=[1, 2],
)
secret = Part(
    "secret", label=pulumi.Output.secret("hush"), anything={"deep": [pulumi.Output.secret(1), None]}
)
late = Part(
    "late", label=base.output["name"], holes=[1, base.output["n"]], tags={"from": base.output["name"]}
)
after = Part("after", label=late.label, opts=pulumi.ResourceOptions(depends_on=[plain]))
pulumi.export("labels", [plain.label, secret.label, late.label, after.label])
pulumi.export("doubled", plain.doubled)
