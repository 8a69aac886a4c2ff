"""The lead is replaced."""

import testbed
from pulumi import ResourceOptions

lead = testbed.Named("lead", name="b")
testbed.Simple("follows", "1", opts=ResourceOptions(replace_with=[lead]))
testbed.Simple("after", "1", opts=ResourceOptions(depends_on=[lead]))
