"""The new one comes first and claims it."""

import testbed
from pulumi import Alias, ResourceOptions

new = testbed.Simple("new", opts=ResourceOptions(aliases=[Alias(name="old")]))
testbed.Simple("old", opts=ResourceOptions(depends_on=[new]))
