"""To be replaced."""

import testbed
from pulumi import ResourceOptions

a = testbed.Named("a", name="m", deleteFirst=True)
testbed.Named("falls", name=a.name, opts=ResourceOptions(protect=True))
testbed.Simple("alone")
