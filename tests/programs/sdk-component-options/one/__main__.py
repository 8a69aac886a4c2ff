"""A protected component with options that components have not."""

import pulumi


class Holder(pulumi.ComponentResource):
    """Two children, one says otherwise."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:index:Holder", name, None, opts)
        under = pulumi.ResourceOptions(parent=self)
        pulumi.Stash("inherits", input=1, opts=under)
        pulumi.Stash(
            "refuses",
            input=1,
            opts=pulumi.ResourceOptions(parent=self, protect=False, retain_on_delete=False),
        )


Holder(
    "holder",
    pulumi.ResourceOptions(
        protect=True,
        retain_on_delete=True,
        ignore_changes=["input"],
        replace_on_changes=["input"],
        custom_timeouts=pulumi.CustomTimeouts(create="5m"),
        additional_secret_outputs=["x"],
        hide_diffs=["x"],
    ),
)
