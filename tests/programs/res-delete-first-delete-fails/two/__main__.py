"""Changed."""

import testbed
from pulumi import ResourceOptions

first = testbed.Failing(
    "first",
    "2",
    fails="delete",
    opts=ResourceOptions(delete_before_replace=True, replace_on_changes=["value"]),
)
testbed.Named("last", name=first.value)
