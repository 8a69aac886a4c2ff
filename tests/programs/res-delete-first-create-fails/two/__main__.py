"""Its replacement cannot be made."""

import testbed
from pulumi import ResourceOptions

first = testbed.Failing(
    "first",
    "2",
    fails="create",
    opts=ResourceOptions(delete_before_replace=True, replace_on_changes=["value"]),
)
testbed.Simple("last", first.value)
