"""No protection of that one."""

import testbed
from pulumi import ResourceOptions

a = testbed.Named("a", name="m", deleteFirst=True)
testbed.Named("falls", name=a.name)
testbed.Simple("alone", opts=ResourceOptions(protect=True))
