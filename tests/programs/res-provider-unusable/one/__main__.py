"""Not to be used."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("first", 1, opts=ResourceOptions(provider=testbed.Provider("own", prefix="unusable")))
