"""Both want it."""

import testbed
from pulumi import Alias, ResourceOptions

first = testbed.Simple("first", opts=ResourceOptions(aliases=[Alias(name="old")]))
testbed.Simple("second", opts=ResourceOptions(aliases=[Alias(name="old")], depends_on=[first]))
