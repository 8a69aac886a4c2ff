"""Both there."""

import testbed
from pulumi import ResourceOptions

first = testbed.Failing(
    "first", "1", fails="", opts=ResourceOptions(delete_before_replace=True, replace_on_changes=["value"])
)
testbed.Simple("last", first.value)
