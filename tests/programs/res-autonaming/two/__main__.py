"""The same."""

import testbed
from pulumi import export

a = testbed.Autonamed("a", 1)
testbed.Autonamed("b", 1, name="own")
export("name", a.name)
