"""A resource."""

import testbed
from pulumi import ResourceOptions

made = testbed.Simple("made", 1)
testbed.Simple("under", 1, opts=ResourceOptions(parent=made))
