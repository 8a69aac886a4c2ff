"""Another."""

import testbed
from pulumi import ResourceOptions, export

a = testbed.Autonamed("a", 2, opts=ResourceOptions(replace_on_changes=["value"]))
testbed.Autonamed("b", 1, name="own")
export("name", a.name)
