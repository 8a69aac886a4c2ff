"""The top has another name and another type."""

import testbed
from pulumi import Alias, ResourceOptions

top = testbed.Group(
    "tip", kind="Heap", opts=ResourceOptions(aliases=[Alias(name="top", type_="testbed:index:Group")])
)
middle = testbed.Group("tip-middle", opts=ResourceOptions(parent=top))
leaf = testbed.Simple("tip-middle-leaf", opts=ResourceOptions(parent=middle))
testbed.Simple("uses", leaf.id)
