"""And an update."""

import testbed
from pulumi import CustomTimeouts, ResourceOptions

testbed.Simple("made", 2, opts=ResourceOptions(custom_timeouts=CustomTimeouts(create="6m", update="90s")))
testbed.Simple("plain", 2)
