"""Resources with options."""

import pulumi

holder = pulumi.ComponentResource("sdk:index:Holder", "holder")
pulumi.Stash(
    "child",
    input="x",
    opts=pulumi.ResourceOptions(
        parent=holder,
        protect=True,
        ignore_changes=["x"],
        custom_timeouts=pulumi.CustomTimeouts(create="1m"),
        additional_secret_outputs=["y"],
    ),
)
base = pulumi.Stash("base", input="blue")
pulumi.Stash("late", input=base.id.apply(lambda _: "not red"))
