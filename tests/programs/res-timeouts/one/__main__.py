"""Minutes."""

import testbed
from pulumi import CustomTimeouts, ResourceOptions

testbed.Simple(
    "made", 1, opts=ResourceOptions(custom_timeouts=CustomTimeouts(create="5m", update="1m30s", delete="1h"))
)
testbed.Simple("plain", 1)
