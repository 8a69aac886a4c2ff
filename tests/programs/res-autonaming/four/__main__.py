"""New ones, under another rule."""

import testbed
from pulumi import ResourceOptions, export

c = testbed.Autonamed("c", 2, opts=ResourceOptions(replace_on_changes=["value"]))
testbed.Simple("plain", c.name)
export("name", c.name)
