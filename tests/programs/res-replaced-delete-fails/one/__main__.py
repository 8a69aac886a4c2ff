"""It cannot be deleted."""

import testbed
from pulumi import ResourceOptions

testbed.Failing("first", "1", fails="delete", opts=ResourceOptions(replace_on_changes=["value"]))
