"""Five."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first", 1)
second = testbed.Simple("second", first.value)
testbed.Simple("third", second.value)
testbed.Simple("other", 1)
testbed.Simple("kept", opts=ResourceOptions(protect=False))
