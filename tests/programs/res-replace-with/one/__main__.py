"""It follows."""

import testbed
from pulumi import ResourceOptions

lead = testbed.Named("lead", name="a")
testbed.Simple("follows", "1", opts=ResourceOptions(replace_with=[lead]))
testbed.Simple("after", "1", opts=ResourceOptions(depends_on=[lead]))
