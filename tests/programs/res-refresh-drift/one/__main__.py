"""Some to drift."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first", 1)
testbed.Simple("second", first.value)
testbed.Simple("third", 1, opts=ResourceOptions(ignore_changes=["value"]))
testbed.Secretive("hidden", 1)
group = testbed.Group("group")
testbed.Simple("under", opts=ResourceOptions(parent=group))
