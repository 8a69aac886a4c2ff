"""Changed."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Failing("new", 3, opts=ResourceOptions(aliases=[Alias(name="old")]))
testbed.Simple("uses", a.id)
