"""With what was taken."""

import testbed
from pulumi import ResourceOptions

group = testbed.Group("group")
testbed.Simple("taken", 7, opts=ResourceOptions(protect=True))
testbed.Named("under", name="x", opts=ResourceOptions(parent=group))
