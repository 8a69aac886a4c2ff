"""Nothing is protected."""

import testbed
from pulumi import ResourceOptions

host = testbed.Simple("host")
top = testbed.Group("top", opts=ResourceOptions(protect=False))
testbed.Simple("a", opts=ResourceOptions(parent=top, retain_on_delete=True))
testbed.Simple("b", opts=ResourceOptions(parent=top))
keeps = testbed.Group("keeps", opts=ResourceOptions(retain_on_delete=True))
testbed.Simple("c", opts=ResourceOptions(parent=keeps, retain_on_delete=False))
d = testbed.Simple("d", opts=ResourceOptions(parent=keeps))
testbed.Simple("e", opts=ResourceOptions(parent=d))
falls = testbed.Group("falls", opts=ResourceOptions(deleted_with=host))
testbed.Simple("x", opts=ResourceOptions(parent=falls))
