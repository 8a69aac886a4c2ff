"""Under a parent, and one is not its any more."""

import testbed
from pulumi import ROOT_STACK_RESOURCE, Alias, ResourceOptions

group = testbed.Group("group")
own = testbed.Provider(
    "mine", prefix="p", opts=ResourceOptions(parent=group, aliases=[Alias(parent=ROOT_STACK_RESOURCE)])
)
testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", 1)
