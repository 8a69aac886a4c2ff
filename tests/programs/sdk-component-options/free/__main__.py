"""The component is no longer protected."""

import pulumi


class Holder(pulumi.ComponentResource):
    """Its children again."""

    def __init__(self, name, opts=None):
        super().__init__("sdk:index:Holder", name, None, opts)
        pulumi.Stash("inherits", input=1, opts=pulumi.ResourceOptions(parent=self))
        pulumi.Stash("refuses", input=1, opts=pulumi.ResourceOptions(parent=self))


Holder("holder")
