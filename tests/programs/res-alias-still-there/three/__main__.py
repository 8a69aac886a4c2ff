"""The old one comes first."""

import testbed
from pulumi import Alias, ResourceOptions

old = testbed.Simple("old")
testbed.Simple("new", opts=ResourceOptions(aliases=[Alias(name="old")], depends_on=[old]))
