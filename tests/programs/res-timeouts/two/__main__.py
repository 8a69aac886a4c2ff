"""Other ones."""

import testbed
from pulumi import CustomTimeouts, ResourceOptions

testbed.Simple("made", 1, opts=ResourceOptions(custom_timeouts=CustomTimeouts(create="6m", update="90s")))
testbed.Simple("plain", 1)
