"""No duration."""

import testbed
from pulumi import CustomTimeouts, ResourceOptions

testbed.Simple("made", 2, opts=ResourceOptions(custom_timeouts=CustomTimeouts(create="soon")))
